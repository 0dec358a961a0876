"""Tests of `devlxd.images.file_names`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.images.file_names import (
    HEAD_SIZE,
    MAX_DESCRIPTION,
    Description,
    DescriptionError,
    extension_of,
    is_filename,
    parts_of,
    read_description,
)
from devlxd.model import ImagePart

HEADS = {
    ".tar.gz": b"\x1f\x8b\x08",
    ".tar.bz2": b"BZh9",
    ".tar.xz": b"\xfd7zXZ\x00",
    ".tar.lzma": b"\x5d\x00\x00\x80",
    ".tar.zst": b"\x28\xb5\x2f\xfd",
    ".tar": b"metadata.yaml".ljust(257, b"\0") + b"ustar",
    ".squashfs": b"hsqs",
    ".qcow2": b"QFI\xfb",
    "": b"something else",
}


class ExtensionTests(SynchronousTestCase):
    """What kind of file an image is."""

    def test_kinds(self) -> None:
        """Each kind that LXD knows is known by how it begins, as with LXD."""
        for extension, head in HEADS.items():
            self.assertLessEqual(len(head), HEAD_SIZE)
            self.assertEqual(extension_of(head + b"..."), extension)
        self.assertEqual(extension_of(b""), "")

    def test_split(self) -> None:
        """The halves of a split image are called as LXD calls them."""
        heads = (HEADS[".tar.xz"], HEADS[".squashfs"])
        self.assertEqual(
            parts_of("f" * 64, heads, (3, 4)),
            (
                ImagePart("metadata", f"meta-{'f' * 64}.tar.xz", 3),
                ImagePart("rootfs", f"{'f' * 64}.squashfs", 4),
            ),
        )

    def test_split_disk(self) -> None:
        """The disk of a virtual machine has another name."""
        _, disk = parts_of("f" * 64, (HEADS[""], HEADS[".qcow2"]), (3, 4))
        self.assertEqual(disk, ImagePart("rootfs.img", f"{'f' * 64}.qcow2", 4))


class DescriptionTests(SynchronousTestCase):
    """``FINGERPRINT.yaml``."""

    def test_all(self) -> None:
        """It says who may have the image, and what it is called."""
        for yes in ("true", "1", "YES", "on", '"true"'):
            self.assertEqual(
                read_description(f"public: {yes}\nfilename: a b.tar\n".encode()),
                Description(public=True, filename="a b.tar"),
            )
        self.assertEqual(
            read_description(b"public: false\ncached: true\nx: y\n"),
            Description(cached=True),
        )

    def test_text(self) -> None:
        """A name that looks like something else is a name all the same."""
        described = read_description(b"filename: 2017-12-21\n")
        self.assertEqual(described.filename, "2017-12-21")

    def test_bad(self) -> None:
        """What is unclear makes no image public; it is told where it is."""
        for content, reason, line in (
            (b"public: maybe\n", "public: neither true nor false", None),
            (b"cached: [true]\n", "cached: neither true nor false", None),
            (b"public: true\nfilename: a/b\n", "filename", None),
            (b'filename: "a\\nb"\n', "filename", None),
            (b"filename: ..\n", "filename", None),
            (b"filename: {}\n", "filename", None),
            (b"public: true\n  cached: x\n", "mapping values", 2),
            (b"[true]\n", "not a mapping", None),
            (b"", "not a mapping", None),
            (b"\xff\xfe\x00", "not YAML", None),
            (b"[" * 60_000, "not YAML", None),
            (b"x" * (MAX_DESCRIPTION + 1), "more than", None),
        ):
            error = self.assertRaises(DescriptionError, read_description, content)
            self.assertIn(reason, str(error), content[:40])
            self.assertEqual(error.line, line, content[:40])

    def test_filename(self) -> None:
        """A file has a name in one line, and no path."""
        for name in ("a", "a b.tar", "größe", "...", "~"):
            self.assertTrue(is_filename(name), name)
        for name in ("x" * 256, "", ".", "..", "/", "a/b", "a\nb", "\x1b[1m", "\udcff"):
            self.assertFalse(is_filename(name), name)
