"""Tests of `devlxd.images.file_names`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.images.file_names import HEAD_SIZE, extension_of, is_filename, parts_of
from devlxd.model import ImagePart

#: The first bytes of files of each format, by extension.
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


class FileNameTests(SynchronousTestCase):
    """The names of the files of images."""

    def test_extensions(self) -> None:
        """The first bytes of a file determine its extension, as in LXD."""
        for extension, head in HEADS.items():
            self.assertLessEqual(len(head), HEAD_SIZE)
            self.assertEqual(extension_of(head + b"..."), extension)
        self.assertEqual(extension_of(b""), "")

    def test_split(self) -> None:
        """The parts of a split image have the names that LXD gives them."""
        heads = (HEADS[".tar.xz"], HEADS[".squashfs"])
        self.assertEqual(
            parts_of("f" * 64, heads, (3, 4)),
            (
                ImagePart("metadata", f"meta-{'f' * 64}.tar.xz", 3),
                ImagePart("rootfs", f"{'f' * 64}.squashfs", 4),
            ),
        )

    def test_split_disk(self) -> None:
        """The second part of the image of a virtual machine is ``rootfs.img``."""
        _, disk = parts_of("f" * 64, (HEADS[""], HEADS[".qcow2"]), (3, 4))
        self.assertEqual(disk, ImagePart("rootfs.img", f"{'f' * 64}.qcow2", 4))

    def test_filename(self) -> None:
        """A filename is printable, of limited length, and not a path."""
        for name in ("a", "a b.tar", "größe", "...", "~"):
            self.assertTrue(is_filename(name), name)
        for name in ("x" * 256, "", ".", "..", "/", "a/b", "a\nb", "\x1b[1m", "\udcff"):
            self.assertFalse(is_filename(name), name)
