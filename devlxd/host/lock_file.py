# -*- test-case-name: tests.host.test_lock_file -*-
"""Lock files that belong to a process, and are released when it ends."""

from __future__ import annotations

import fcntl
import os
import struct

#: ``struct flock`` of ``fcntl(2)``: type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi0q")


class LockedError(Exception):
    """Raised when another process holds a lock.

    :ivar pid: the pid of that process.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(f"locked by pid {pid}")
        self.pid = pid


class LockFile:
    """A lock of this process on a file (``fcntl(2)``).

    The kernel releases the lock when the process ends. The file remains, and is
    always empty.

    :param path: the path of the file, which is created when it is missing.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def check(self) -> None:
        """Check that no other process holds the lock.

        If this process holds the lock, this call releases it, because closing any
        descriptor of the file does (``fcntl(2)``).

        :raises LockedError: if another process holds it.
        :raises OSError: if the file cannot be opened.
        """
        descriptor = self._open()
        try:
            _check_unlocked(descriptor)
        finally:
            os.close(descriptor)

    def acquire(self) -> None:
        """Acquire the lock, and hold it until this process ends.

        A forked child does not inherit the lock: a daemon must fork first.

        :raises LockedError: if another process holds it.
        :raises OSError: if the file cannot be opened or locked; `BlockingIOError` if
            another process held the lock, but has just released it.
        """
        descriptor = self._open()
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with os.fdopen(descriptor):
                _check_unlocked(descriptor)
            raise

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _check_unlocked(descriptor: int) -> None:
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    conflict = fcntl.fcntl(descriptor, fcntl.F_GETLK, wanted)
    kind, _whence, _start, _length, pid = _FLOCK.unpack(conflict)
    if kind != fcntl.F_UNLCK:
        raise LockedError(pid)
