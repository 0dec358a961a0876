"""Tests of `devlxd.host.lock_file`."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from devlxd.host.lock_file import LockedError, LockFile

#: Acquires a lock, starts a child that reads standard input to its end, and waits
#: for the child. With a second argument it ends at once, and only the child is left.
HOLDER = """
import os, sys
from devlxd.host.lock_file import LockFile
LockFile(sys.argv[1]).acquire()
if os.fork():
    os._exit(0) if sys.argv[2:] else os.wait()
else:
    print(flush=True)
    sys.stdin.read()
"""


class LockFileTests(SynchronousTestCase):
    """A lock file is locked by one process at a time."""

    def setUp(self) -> None:
        self.path = str(Path(tempfile.mkdtemp(dir=".")).absolute() / "lock")

    def test_error(self) -> None:
        """A lock file that cannot be locked is closed again."""
        descriptors: list[int] = []

        def fail(descriptor: int, operation: int) -> None:
            descriptors.append(descriptor)
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        self.patch(fcntl, "lockf", fail)
        error = self.assertRaises(OSError, LockFile(self.path).acquire)
        self.assertEqual(error.errno, errno.ENOLCK)
        self.assertRaises(OSError, os.fstat, descriptors[0])

    def hold(self, *more: str) -> subprocess.Popen[bytes]:
        """Start `HOLDER`; return it when it has acquired the lock."""
        directory = Path(__file__).parents[2]
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, self.path, *more],
            env={**os.environ, "PYTHONPATH": str(directory)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(holder.communicate)
        assert holder.stdout is not None
        holder.stdout.readline()
        return holder

    def test_held(self) -> None:
        """The error names the process that holds the lock."""
        holder = self.hold()
        for attempt in (LockFile(self.path).check, LockFile(self.path).acquire):
            error = self.assertRaises(LockedError, attempt)
            self.assertEqual(error.pid, holder.pid)

    def test_released_with_its_process(self) -> None:
        """The lock is released when its process ends, even if a child is left."""
        holder = self.hold("forks")
        holder.wait()
        LockFile(self.path).check()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def test_unusable(self) -> None:
        """A file that cannot be created raises `OSError`."""
        for attempt in (LockFile("/nope/x").check, LockFile("/nope/x").acquire):
            self.assertRaises(FileNotFoundError, attempt)
