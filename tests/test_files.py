"""Tests of `devlxd.files`."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import devlxd.files
from devlxd.files import birth_time_ns, open_regular
from tests.descriptors import Descriptors


class OpenRegularTests(SynchronousTestCase):
    """Opening files with `open_regular`."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir="."))
        self.path = self.directory / "file"

    def test_file(self) -> None:
        """A regular file is opened for reading."""
        self.path.write_text("abc")
        with open(open_regular(self.path)) as file:
            self.assertEqual(file.read(), "abc")

    def test_not_regular(self) -> None:
        """A FIFO and a directory are refused, without blocking."""
        os.mkfifo(self.path)
        descriptors = Descriptors()
        error = self.assertRaises(OSError, open_regular, self.path)
        self.assertIn("not a regular file", str(error))
        self.assertRaises(IsADirectoryError, open_regular, self.directory)
        self.assertEqual(descriptors.opened(), [])

    def test_link(self) -> None:
        """A symbolic link is followed, unless the flags contain ``O_NOFOLLOW``."""
        self.path.write_text("abc")
        link = self.directory / "link"
        link.symlink_to("file")
        os.close(open_regular(link))
        self.assertRaises(OSError, open_regular, link, os.O_NOFOLLOW)


class BirthTimeTests(SynchronousTestCase):
    """The birth times of files."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")) / "file"
        self.path.write_text("abc")

    def birth(self, path: Path | int) -> int:
        """Return a birth time; skip the test if the file system has none."""
        birth = birth_time_ns(path)
        if birth is None:
            raise SkipTest("the file system has no birth times")
        return birth

    def test_clock(self) -> None:
        """The birth time is in nanoseconds of the wall clock."""
        birth = self.birth(self.path)
        self.assertLess(abs(time.time_ns() - birth), 60 * 10**9)
        self.assertLessEqual(birth, self.path.stat().st_ctime_ns)

    def test_like_stat(self) -> None:
        """``stat`` of coreutils prints the same time, for files and directories."""
        for path in (self.path, self.path.parent):
            command = [str(shutil.which("stat")), "-c", "%W", str(path)]
            output = subprocess.run(command, capture_output=True, check=True).stdout
            self.assertEqual(self.birth(path) // 10**9, int(output))

    def test_kept(self) -> None:
        """A file keeps its birth time; a new file of the same name has a later one."""
        birth = self.birth(self.path)
        self.path.write_text("def")
        os.utime(self.path, (0, 0))
        moved = self.path.rename(self.path.with_name("moved"))
        self.assertEqual(self.birth(moved), birth)
        # The clock of a file system is coarse: a new file may get the same time.
        deadline = time.monotonic() + 60
        self.path.write_text("ghi")
        while self.birth(self.path) == birth and time.monotonic() < deadline:
            self.path.unlink()
            self.path.write_text("ghi")
        self.assertGreater(self.birth(self.path), birth)

    def test_descriptor(self) -> None:
        """The file may be given by a descriptor, or by a symbolic link."""
        link = self.path.with_name("link")
        link.symlink_to("file")
        with open(self.path) as file:
            self.assertEqual(self.birth(file.fileno()), self.birth(self.path))
        self.assertEqual(self.birth(link), self.birth(self.path))

    def test_missing(self) -> None:
        """A missing file is an error."""
        missing = self.path.with_name("missing")
        self.assertRaises(FileNotFoundError, birth_time_ns, missing)
        self.patch(devlxd.files, "_statx", None)
        self.assertRaises(FileNotFoundError, birth_time_ns, missing)

    def test_unknown(self) -> None:
        """If the birth time is not known, the result is ``None``."""

        def fail(number: int) -> Callable[..., int]:
            def statx(*_: object) -> int:
                ctypes.set_errno(number)
                return -1

            return statx

        for statx in (None, lambda *_: 0, fail(errno.ENOSYS), fail(errno.EPERM)):
            self.patch(devlxd.files, "_statx", statx)
            self.assertIsNone(birth_time_ns(self.path))
        self.patch(devlxd.files, "_statx", fail(errno.EACCES))
        self.assertRaises(PermissionError, birth_time_ns, self.path)
