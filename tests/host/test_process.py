"""Tests of `devlxd.host.process`."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from twisted.application.service import Service
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host import process
from devlxd.host.process import (
    LockedError,
    LockFile,
    ProcessService,
    disable_gc_until,
    use_monotonic_clock,
)
from devlxd.testing import MemoryDevLXDReactor

#: Takes a lock, and keeps it until its input ends.
HOLDER = """
import os, sys
from devlxd.host.process import LockFile
LockFile(sys.argv[1]).acquire()
if os.fork():
    os._exit(0) if sys.argv[2:] else os.wait()
else:
    print(flush=True)
    sys.stdin.read()
"""


class LockFileTests(SynchronousTestCase):
    """A lock of a process."""

    def setUp(self) -> None:
        self.path = str(Path(tempfile.mkdtemp(dir=".")).absolute() / "lock")

    def hold(self, *more: str) -> subprocess.Popen[bytes]:
        """Let another process take the lock."""
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
        """It is told which process has it."""
        holder = self.hold()
        for attempt in (LockFile(self.path).check, LockFile(self.path).acquire):
            error = self.assertRaises(LockedError, attempt)
            self.assertEqual(error.pid, holder.pid)

    def test_goes_with_its_process(self) -> None:
        """It goes with its process, also if that leaves children behind."""
        holder = self.hold("forks")
        holder.wait()
        LockFile(self.path).check()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def test_unusable(self) -> None:
        """A file that cannot be is an `OSError`."""
        for attempt in (LockFile("/nope/x").check, LockFile("/nope/x").acquire):
            self.assertRaises(FileNotFoundError, attempt)


class ProcessServiceTests(SynchronousTestCase):
    """What goes on around the services of a process."""

    def setUp(self) -> None:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            before = signal.signal(number, signal.SIG_DFL)
            self.addCleanup(signal.signal, number, before)
        self.happened: list[str] = []
        self.service = ProcessService(
            MemoryDevLXDReactor(),
            take_locks=lambda: self.happened.append("locks"),
            check=lambda: self.happened.append("check"),
            hang_up=lambda: self.happened.append("hang up"),
        )
        child = Service()
        self.patch(child, "privilegedStartService", lambda: self.happened.append("a"))
        self.patch(child, "startService", lambda: self.happened.append("b"))
        child.setServiceParent(self.service)

    def test_order(self) -> None:
        """Locks and checks come before what needs them."""
        self.service.privilegedStartService()
        self.service.startService()
        self.assertEqual(self.happened, ["locks", "a", "check", "b"])

    def test_signals(self) -> None:
        """``SIGHUP`` is passed on, ``SIGUSR1`` and ``SIGUSR2`` do nothing."""
        self.service.privilegedStartService()
        self.happened.clear()
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP):
            os.kill(os.getpid(), number)
        self.assertEqual(self.happened, ["hang up", "hang up"])

    def test_used_signals(self) -> None:
        """What twistd does at a signal it still does."""
        signal.signal(signal.SIGUSR1, lambda *_: self.happened.append("rotated"))
        self.service.privilegedStartService()
        os.kill(os.getpid(), signal.SIGUSR1)
        self.assertEqual(self.happened[-1], "rotated")


class IdleReactor(ReactorBase):
    """A reactor that only waits."""

    seconds = staticmethod(lambda: 1_000_000.0)

    def installWaker(self) -> None:
        """Wait for no threads."""


class ClockTests(SynchronousTestCase):
    """The clock that a reactor waits by."""

    def test_monotonic(self) -> None:
        """What is waited for comes in time, whatever the wall says."""
        clock = Clock()
        clock.advance(500)
        self.patch(process, "time", SimpleNamespace(monotonic=clock.seconds))
        reactor = IdleReactor()
        called: list[str] = []
        reactor.callLater(20, called.append, "before")
        use_monotonic_clock(reactor)
        reactor.callLater(10, called.append, "after")
        self.assertEqual(reactor.seconds(), 500)
        self.assertEqual(reactor.timeout(), 10)
        clock.advance(10)
        reactor.runUntilCurrent()
        self.assertEqual(called, ["after"])
        self.assertEqual(reactor.timeout(), 10)
        clock.advance(10)
        reactor.runUntilCurrent()
        self.assertEqual(called, ["after", "before"])


class CollectorTests(SynchronousTestCase):
    """The garbage collector is kept away while much is loaded."""

    def setUp(self) -> None:
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.enable)
        self.loaded: Deferred[None] = Deferred()
        disable_gc_until(self.loaded)
        self.assertFalse(gc.isenabled())

    def test_loaded(self) -> None:
        """It is back when all is loaded."""
        self.loaded.callback(None)
        self.assertTrue(gc.isenabled())

    def test_failed(self) -> None:
        """It is back when loading fails, which somebody else may deal with."""
        self.loaded.errback(ZeroDivisionError())
        self.assertTrue(gc.isenabled())
        self.failureResultOf(self.loaded, ZeroDivisionError)
