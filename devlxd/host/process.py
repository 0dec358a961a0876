# -*- test-case-name: tests.host.test_process -*-
"""What devlxd needs to be a process of its own: locks, signals, a clock."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import struct
import time
from collections.abc import Callable
from typing import TypeVar

from twisted.application.service import MultiService
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

_T = TypeVar("_T")

#: ``struct flock``: type, whence, start, length, pid.
_FLOCK = "hhqqi0q"


class LockedError(Exception):
    """A lock that another process has.

    :ivar pid: which one.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(f"locked by pid {pid}")
        self.pid = pid


class LockFile:
    """A lock of this process, which goes with it (``fcntl_locking(2)``).

    The file stays, and says nothing.

    :param path: of the file; it is made if need be.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def check(self) -> None:
        """Check that nobody else has the lock.

        :raises LockedError: when somebody has.
        :raises OSError: when the file cannot be used.
        """
        descriptor = self._open()
        try:
            _check_free(descriptor)
        finally:
            # This gives up the lock, if it is this process's own.
            os.close(descriptor)

    def acquire(self) -> None:
        """Take the lock, and keep it as long as this process lives.

        A process that was forked has none: daemons take it when they are one.

        :raises LockedError: when somebody else has it.
        :raises OSError: when the file cannot be used.
        """
        descriptor = self._open()
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with os.fdopen(descriptor):
                _check_free(descriptor)
            raise

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _check_free(descriptor: int) -> None:
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
    kind, _whence, _start, _length, pid = struct.unpack(_FLOCK, answer)
    if kind != fcntl.F_UNLCK:
        raise LockedError(pid)


class ProcessService(MultiService):
    """Runs services as a process of its own.

    :param reactor: calls what a signal asks for.
    :param take_locks: called first.
    :param check: called with the privileges that the process keeps.
    :param hang_up: called at each ``SIGHUP``.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        take_locks: Callable[[], None],
        check: Callable[[], None],
        hang_up: Callable[[], None],
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._take_locks = take_locks
        self._check = check
        self._hang_up = hang_up

    def privilegedStartService(self) -> None:
        """Listen to signals, and take the locks; by now a daemon is one."""
        signal.signal(signal.SIGHUP, self._signalled)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            # twistd may rotate its log, or call a debugger.
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, signal.SIG_IGN)
        self._take_locks()
        super().privilegedStartService()

    def startService(self) -> None:
        """Check the privileges."""
        self._check()
        super().startService()

    def _signalled(self, _number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._hang_up)


def use_monotonic_clock(reactor: ReactorBase) -> None:
    """Let a reactor wait by a clock that nobody sets.

    By default it is the wall's: set back by an hour, no timeout comes for an
    hour. What it waits for already keeps its time.
    """
    ahead = time.monotonic() - reactor.seconds()
    reactor.seconds = time.monotonic
    for call in reactor.getDelayedCalls():
        call.delay(ahead)


def disable_gc_until(loaded: Deferred[_T]) -> None:
    """Keep Python's garbage collector away until snapshots are loaded, or are not.

    It would go through all of them again and again while they are read, for
    longer than guests should wait, and find nothing: a snapshot becomes
    garbage when it is replaced, and that needs no collector.
    """
    gc.disable()

    def enable(result: _T | Failure) -> _T | Failure:
        gc.freeze()
        gc.enable()
        return result

    loaded.addBoth(enable)
