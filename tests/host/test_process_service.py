"""Tests of `devlxd.host.process_service`."""

from __future__ import annotations

import os
import signal

from twisted.application.service import Service
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host.process_service import ProcessService
from devlxd.testing import MemoryDevLXDReactor


class ProcessServiceTests(SynchronousTestCase):
    """The service at the top of a process."""

    def setUp(self) -> None:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            before = signal.signal(number, signal.SIG_DFL)
            self.addCleanup(signal.signal, number, before)
        self.calls: list[str] = []
        self.service = ProcessService(
            MemoryDevLXDReactor(),
            acquire_locks=lambda: self.calls.append("locks"),
            check_privileges=lambda: self.calls.append("privileges"),
            on_hangup=lambda: self.calls.append("hangup"),
        )
        child = Service()
        self.patch(child, "privilegedStartService", lambda: self.calls.append("a"))
        self.patch(child, "startService", lambda: self.calls.append("b"))
        child.setServiceParent(self.service)

    def test_order(self) -> None:
        """Locks are acquired first; privileges are checked before ``startService``."""
        self.service.privilegedStartService()
        self.service.startService()
        self.assertEqual(self.calls, ["locks", "a", "privileges", "b"])

    def test_signals(self) -> None:
        """``SIGHUP`` calls ``on_hangup``; the other two signals are ignored."""
        self.service.privilegedStartService()
        self.calls.clear()
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP):
            os.kill(os.getpid(), number)
        self.assertEqual(self.calls, ["hangup", "hangup"])

    def test_handled_signals(self) -> None:
        """Signal handlers that twistd has installed stay installed."""
        signal.signal(signal.SIGUSR1, lambda *_: self.calls.append("rotated"))
        self.service.privilegedStartService()
        os.kill(os.getpid(), signal.SIGUSR1)
        self.assertEqual(self.calls[-1], "rotated")
