"""Tests of `devlxd.images.adding`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.images.adding import add_image
from devlxd.images.directory_image_store import DirectoryImageStore
from devlxd.images.image_directory import ImageDirectoryError
from devlxd.interfaces import IOpenImage
from devlxd.testing import MemoryDevLXDReactor


class AddTests(SynchronousTestCase):
    """`add_image`."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir="."))
        self.files = Path(tempfile.mkdtemp(dir="."))
        self.store = DirectoryImageStore(self.directory, MemoryDevLXDReactor())

    def create_file(self, name: str, content: bytes) -> Path:
        """Create a file to be added."""
        path = self.files / name
        path.write_bytes(content)
        return path

    def open(self, fingerprint: str) -> IOpenImage | None:
        """Open an image in the directory."""
        return self.successResultOf(self.store.open(fingerprint))

    def assert_served(self, fingerprint: str, data: bytes) -> tuple[str, ...]:
        """Check that an image can be read; return the filenames of its parts."""
        opened = self.open(fingerprint)
        assert opened is not None
        self.addCleanup(opened.close)
        read = b""
        while len(read) < len(data):
            read += self.successResultOf(opened.read(len(read), 100))
        self.assertEqual(read, data)
        return tuple(part.filename for part in opened.image.parts)

    def test_unified(self) -> None:
        """A unified image keeps its filename."""
        added = add_image(
            self.directory, [self.create_file("größe.tar", b"data")], True
        )
        self.assertEqual(added, hashlib.sha256(b"data").hexdigest())
        self.assertEqual(self.assert_served(added, b"data"), ("größe.tar",))

    def test_split(self) -> None:
        """The fingerprint of a split image is that of both files together."""
        files = [self.create_file("meta", b"meta"), self.create_file("root", b"hsqs")]
        added = add_image(self.directory, files, True)
        self.assertEqual(added, hashlib.sha256(b"metahsqs").hexdigest())
        self.assertEqual(
            self.assert_served(added, b"metahsqs"),
            (f"meta-{added}", f"{added}.squashfs"),
        )

    def test_private(self) -> None:
        """An image that is not public cannot be downloaded."""
        added = add_image(self.directory, [self.create_file("x", b"data")], False)
        self.assertIsNone(self.open(added))
        self.assertTrue((self.directory / added).exists())

    def test_mode(self) -> None:
        """Other users of the host cannot read the files."""
        add_image(self.directory, [self.create_file("x", b"data")], True)
        for path in self.directory.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)

    def test_again(self) -> None:
        """Adding an image again can make it public or private."""
        path = self.create_file("x", b"data")
        added = add_image(self.directory, [path], False)
        self.assertEqual(add_image(self.directory, [path], True), added)
        self.assert_served(added, b"data")
        add_image(self.directory, [path], False)
        self.assertIsNone(self.open(added))

    def test_unprintable_name(self) -> None:
        """A filename that is not printable is replaced by the fingerprint."""
        added = add_image(self.directory, [self.create_file("a\nb", b"data")], True)
        self.assertEqual(self.assert_served(added, b"data"), (added,))

    def assert_refused(self, reason: str, *files: Path, **options: str) -> None:
        """Check that adding fails, and leaves the directory as it was."""
        before = sorted(self.directory.iterdir())
        error = self.assertRaises(
            ImageDirectoryError, add_image, self.directory, files, True, **options
        )
        self.assertIn(reason, str(error))
        self.assertEqual(sorted(self.directory.iterdir()), before)

    def test_refused(self) -> None:
        """Files that are missing, empty or not regular are refused."""
        good = self.create_file("good", b"data")
        self.assert_refused("none: No such file", self.files / "none")
        self.assert_refused("none: No such file", good, self.files / "none")
        self.assert_refused("empty: empty file", self.create_file("empty", b""))
        self.assert_refused("directory", self.files)
        os.mkfifo(self.files / "fifo")
        self.assert_refused("not a regular file", self.files / "fifo")

    def test_fingerprint(self) -> None:
        """An image with another fingerprint than expected is refused."""
        path = self.create_file("x", b"data")
        expected = hashlib.sha256(b"other").hexdigest()
        self.assert_refused(f"not {expected}", path, expected=expected)
        good = hashlib.sha256(b"data").hexdigest()
        self.assertEqual(add_image(self.directory, [path], True, good), good)

    def test_other_files(self) -> None:
        """Files that split the same data differently are never mixed."""
        whole = self.create_file("whole", b"metaroot")
        meta, root = (
            self.create_file("meta", b"meta"),
            self.create_file("root", b"root"),
        )
        added = add_image(self.directory, [whole], True)
        (self.directory / added).rename(self.directory / f"{added}.tar")
        self.assert_refused("consists of other files", whole)
        (self.directory / f"{added}.tar").rename(self.directory / added)
        add_image(self.directory, [meta, root], True)
        self.assertEqual(len(self.assert_served(added, b"metaroot")), 2)
        self.assert_refused("consists of other files", whole)

    def test_no_directory(self) -> None:
        """A missing directory is an error, and is not created."""
        path = self.create_file("x", b"data")
        nowhere = self.directory / "none"
        error = self.assertRaises(ImageDirectoryError, add_image, nowhere, [path], True)
        self.assertEqual(str(error), f"{nowhere}: no such directory")

    def test_directory_of_an_lxd(self) -> None:
        """The directory of an LXD is refused, as LXD would remove the image."""
        images = self.directory / "images"
        images.mkdir()
        (self.directory / "database").mkdir()
        path = self.create_file("x", b"data")
        error = self.assertRaises(ImageDirectoryError, add_image, images, [path], True)
        self.assertIn("belongs to an LXD", str(error))
        self.assertEqual(list(images.iterdir()), [])

    def test_directory_of_an_lxd_by_another_name(self) -> None:
        """The directory of an LXD is refused under any path."""
        (self.directory / "database").mkdir()
        images = self.directory / "images"
        images.mkdir()
        link = self.directory / "link"
        link.symlink_to("images")
        path = self.create_file("x", b"data").absolute()
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        link = link.absolute()
        os.chdir(images)
        for name in (Path(), link):
            error = self.assertRaises(
                ImageDirectoryError, add_image, name, [path], True
            )
            self.assertIn("belongs to an LXD", str(error))

    def test_growing(self) -> None:
        """A file that grows while it is copied is refused."""
        path = self.create_file("x", b"data")

        class Digest:
            """A digest that appends to the file while it is copied."""

            def update(self, data: bytes) -> None:
                with path.open("ab") as file:
                    file.write(b"more")

        self.patch(hashlib, "sha256", Digest)
        self.assert_refused("x: changed while it was copied", path)

    def test_order(self) -> None:
        """An image can be downloaded only after all of it is on the disk."""
        calls: list[str] = []
        rename, fsync = Path.rename, os.fsync

        def record_rename(path: Path, target: Path) -> Path:
            calls.append(f"rename {target.suffix}")
            return rename(path, target)

        def record_fsync(fd: int) -> None:
            calls.append("fsync")
            fsync(fd)

        self.patch(Path, "rename", record_rename)
        self.patch(os, "fsync", record_fsync)
        files = [self.create_file("meta", b"meta"), self.create_file("root", b"root")]
        add_image(self.directory, files, True)
        self.assertEqual(
            calls,
            [
                *["fsync"] * 3,
                *["rename ", "rename .rootfs", "fsync"],
                *["rename .yaml", "fsync"],
            ],
        )

    def test_interrupted_with_other_files(self) -> None:
        """An image is private while its one file is replaced by two."""
        whole = self.create_file("whole", b"metaroot")
        added = add_image(self.directory, [whole], True)
        files = [self.create_file("meta", b"meta"), self.create_file("root", b"root")]
        rename = Path.rename

        def interrupt(path: Path, target: Path) -> Path:
            if target.suffix:
                raise KeyboardInterrupt
            return rename(path, target)

        self.patch(Path, "rename", interrupt)
        arguments = (self.directory, files, True)
        self.assertRaises(KeyboardInterrupt, add_image, *arguments)
        self.assertIsNone(self.open(added))

    def test_full_disk(self) -> None:
        """A full disk is an error, and no files are left."""

        def full(fd: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.assert_refused("No space left", self.create_file("x", b"data"))

    def test_interrupted(self) -> None:
        """If adding is interrupted at any step, no guest can download half an image."""
        meta, root = (
            self.create_file("meta", b"meta"),
            self.create_file("root", b"root"),
        )
        fingerprint = hashlib.sha256(b"metaroot").hexdigest()
        rename = Path.rename
        left = 0

        def interrupt(path: Path, target: Path) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return rename(path, target)

        self.patch(Path, "rename", interrupt)
        for survived in range(3):
            left = survived
            arguments = (self.directory, [meta, root], True)
            self.assertRaises(KeyboardInterrupt, add_image, *arguments)
            with capturedLogs():
                self.assertIsNone(self.open(fingerprint))
        left = 3
        add_image(self.directory, [meta, root], True)
        self.assert_served(fingerprint, b"metaroot")
