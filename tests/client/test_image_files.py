"""Tests of `devlxd.client.image_files`."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client.image_files import PartialFile, final_path, place


class NameTests(SynchronousTestCase):
    """`final_path` uses a name of the server's only if it is a plain one."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def test_file(self) -> None:
        """The path of a file is used, whatever the server's name is."""
        path = self.directory / "image"
        self.assertEqual(final_path(path, "fp", "name"), path)
        found = final_path(path, "fp", "name", ".rootfs")
        self.assertEqual(found, self.directory / "image.rootfs")

    def test_directory(self) -> None:
        """In a directory, the server's name is used."""
        found = final_path(self.directory, "fp", "fp.tar.xz")
        self.assertEqual(found, self.directory / "fp.tar.xz")

    def test_no_plain_names(self) -> None:
        """Hidden files, paths, options and control characters are no names."""
        names = (
            "",
            ".",
            "..",
            ".bashrc",
            "../a",
            "/a",
            "a/b",
            "a\\b",
            "a\n",
            "\x1b[2J",
        )
        for name in (*names, "-rf", " a", "a\0b", "x" * 256, "é" * 128, "\udc80"):
            found = final_path(self.directory, "fp", name, ".rootfs")
            self.assertEqual(found, self.directory / "fp.rootfs")

    @given(st.text())
    def test_any_name(self, name: str) -> None:
        """The file is in the directory, whatever the server sends."""
        found = final_path(Path("."), "fp", name)
        self.assertEqual(found.parent, Path("."))
        self.assertEqual(os.path.normpath(found), str(found))


class PartialFileTests(SynchronousTestCase):
    """`PartialFile` gets its name when it is complete."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "image"

    def test_place(self) -> None:
        """Until the file is complete, the name has what it had before."""
        self.path.write_bytes(b"old")
        file = PartialFile(self.path)
        file.write(b"new")
        file.flush()
        self.assertEqual(self.path.read_bytes(), b"old")
        file.place()
        self.assertEqual(self.path.read_bytes(), b"new")
        self.assertEqual(os.listdir(self.directory), ["image"])

    def test_not_replaced(self) -> None:
        """Without ``replace`` a file stays, even one that has just appeared."""
        file = PartialFile(self.path, replace=False)
        file.write(b"new")
        self.path.write_bytes(b"old")
        with self.assertRaises(FileExistsError) as raised:
            file.place()
        self.assertEqual(raised.exception.filename, str(self.path))
        file.discard()
        self.assertRaises(FileExistsError, PartialFile, self.path, replace=False)
        self.assertEqual(self.path.read_bytes(), b"old")
        self.assertEqual(os.listdir(self.directory), ["image"])

    def test_new(self) -> None:
        """Where there is no file to replace, the new one gets the name."""
        file = PartialFile(self.path, replace=False)
        file.write(b"new")
        file.place()
        self.assertEqual(self.path.read_bytes(), b"new")
        self.assertEqual(os.listdir(self.directory), ["image"])

    def test_mode(self) -> None:
        """The file has the mode of any new file."""
        previous = os.umask(0o027)
        self.addCleanup(os.umask, previous)
        file = PartialFile(self.path)
        file.place()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)

    def test_discard(self) -> None:
        """A file that is discarded leaves nothing, before and after it has its name."""
        for is_placed in (False, True):
            file = PartialFile(self.path)
            if is_placed:
                file.place()
            file.discard()
            file.discard()
            file.flush()
            self.assertEqual(os.listdir(self.directory), [])

    def test_no_directory(self) -> None:
        """An error has the name of the file that was asked for."""
        path = self.directory / "none" / "image"
        error = self.assertRaises(FileNotFoundError, PartialFile, path)
        self.assertEqual(error.filename, str(path))

    def test_disk_full(self) -> None:
        """An error of the disk has the name of the file."""
        file = PartialFile(self.path)
        file._file.close()
        file._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
        error = self.assertRaises(OSError, file.write, b"x")
        self.assertEqual(error.filename, str(self.path))
        self.assertIn("No space left", str(error))
        file.discard()
        self.assertEqual(os.listdir(self.directory), [])

    def test_no_regular_file(self) -> None:
        """A device, a pipe or a directory is not replaced."""
        self.path.mkdir()
        pipe = self.directory / "pipe"
        os.mkfifo(pipe)
        for path in (self.path, pipe, Path("/dev/null")):
            self.assertRaises(OSError, PartialFile, path)
        self.assertCountEqual(os.listdir(self.directory), ["image", "pipe"])

    def test_order(self) -> None:
        """The metadata gets its name last: with it, the image is complete."""
        self.path.write_bytes(b"old metadata")
        rootfs = self.directory / "image.rootfs"
        files = [PartialFile(self.path), PartialFile(rootfs)]
        seen = []
        self.patch(os, "replace", lambda *names: seen.append((names[1], exists())))

        def exists() -> bool:
            return self.path.exists()

        place(files)
        self.assertEqual(seen, [(rootfs, False), (self.path, False)])
