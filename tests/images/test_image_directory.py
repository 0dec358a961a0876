"""Tests of `devlxd.images.image_directory`."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from devlxd.images.image_directory import locked, write_file


class LockedTests(SynchronousTestCase):
    """`locked`."""

    def test_one_writer(self) -> None:
        """Only one writer is in a directory at a time, and no file stays behind."""
        directory = Path(tempfile.mkdtemp(dir="."))
        fd = os.open(directory, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        with locked(directory):
            self.assertRaises(
                BlockingIOError, fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB
            )
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.assertEqual(os.listdir(directory), [])


class WriteFileTests(SynchronousTestCase):
    """`write_file`."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir="."))

    def test_private(self) -> None:
        """By default only the user of the command can read a new file."""
        write_file(self.directory / "x", b"data")
        self.assertEqual((self.directory / "x").read_bytes(), b"data")
        self.assertEqual((self.directory / "x").stat().st_mode & 0o777, 0o600)

    def test_like(self) -> None:
        """A new file has the mode and the owner of another file."""
        changed: list[tuple[int, int]] = []
        self.patch(os, "fchown", lambda fd, uid, gid: changed.append((uid, gid)))
        (self.directory / "x").touch()
        (self.directory / "x").chmod(0o640)
        status = (self.directory / "x").stat()
        write_file(self.directory / "mine", b"", status)
        self.assertEqual(changed, [])
        other = os.stat_result((*status[:4], 4711, 4712, *status[6:]))
        write_file(self.directory / "other", b"", other)
        self.assertEqual(changed, [(4711, 4712)])
        self.assertEqual((self.directory / "other").stat().st_mode & 0o777, 0o640)
