"""Tests of `devlxd.host.process_service`."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from devlxd.host.connection_handover import ConnectionHandover
from devlxd.host.process_service import STATUS_INTERVAL, ProcessService
from devlxd.interfaces import IHandoverStore
from devlxd.model import HandedOver
from devlxd.testing import (
    MemoryDevLXDReactor,
    RecordingNotifier,
)


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


@implementer(IHandoverStore)
class RecordingStore:
    """A store without connections that records its calls."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def save(self, connections: Sequence[HandedOver]) -> bool:
        """See `IHandoverStore.save`."""
        self.calls.append("save")
        return True

    def take(self) -> Sequence[HandedOver]:
        """See `IHandoverStore.take`."""
        self.calls.append("take")
        return []


class ManagedProcessTests(SynchronousTestCase):
    """A process that a service manager has started."""

    def setUp(self) -> None:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            before = signal.signal(number, signal.SIG_DFL)
            self.addCleanup(signal.signal, number, before)
        self.reactor = MemoryDevLXDReactor()
        self.notifier = RecordingNotifier(2.0)
        self.calls = self.notifier.calls
        self.loaded: Deferred[None] = Deferred()
        self.handed_over: Deferred[list[HandedOver]] = Deferred()
        self.reloaded: object = None
        self.status = "serving"
        handover = ConnectionHandover(RecordingStore(self.calls), self.reactor)
        handover.add(lambda: self.handed_over, lambda _: [])
        self.service = ProcessService(
            self.reactor,
            acquire_locks=lambda: None,
            check_privileges=lambda: None,
            on_hangup=self.reload,
            notifier=self.notifier,
            handover=handover,
            loaded=lambda: self.loaded,
            status=lambda: self.status,
        )
        child = Service()
        self.patch(child, "startService", lambda: self.calls.append("start"))
        self.patch(child, "stopService", lambda: self.calls.append("stop"))
        child.setServiceParent(self.service)

    def reload(self) -> object:
        """Record a reload."""
        self.calls.append("reload")
        return self.reloaded

    def start(self) -> None:
        """Start the service, let it load, and forget the calls."""
        self.service.privilegedStartService()
        self.service.startService()
        self.reactor.advance(0)
        self.loaded.callback(None)
        self.loaded = succeed(None)
        self.calls.clear()

    def test_start(self) -> None:
        """Connections are taken when devlxd listens; it is ready when all is loaded."""
        self.service.privilegedStartService()
        self.service.startService()
        self.assertEqual(self.calls, ["start"])
        self.reactor.advance(0)
        self.assertEqual(self.calls, ["start", "alive", "take"])
        self.loaded.callback(None)
        self.assertEqual(self.calls[3:], ["serving", "ready"])

    def test_watchdog(self) -> None:
        """The reactor feeds the watchdog twice in its time, while devlxd runs."""
        self.start()
        self.reactor.pump([0.5] * 8)
        self.assertEqual(self.calls, ["alive"] * 4)
        self.handed_over.callback([])
        self.service.stopService()
        self.calls.clear()
        self.reactor.pump([0.5] * 8)
        self.assertEqual(self.calls, [])

    def test_no_watchdog(self) -> None:
        """A manager that expects nothing receives nothing."""
        self.notifier.watchdog = 0
        self.start()
        self.reactor.advance(100)
        self.assertEqual(self.calls, [])

    def test_status(self) -> None:
        """The manager learns what is served whenever that has changed."""
        self.notifier.watchdog = 0
        self.start()
        self.reactor.pump([STATUS_INTERVAL] * 3)
        self.assertEqual(self.calls, [])
        self.status = "serving more"
        self.reactor.pump([STATUS_INTERVAL] * 3)
        self.assertEqual(self.calls, ["serving more"])

    def test_loaded_late(self) -> None:
        """A process that has been stopped does not become ready."""
        self.service.privilegedStartService()
        self.service.startService()
        self.reactor.advance(0)
        self.service.stopService()
        self.loaded.callback(None)
        self.assertNotIn("ready", self.calls)

    def test_stop(self) -> None:
        """The connections are handed over before the services are stopped."""
        self.start()
        stopped = self.service.stopService()
        self.assertEqual(self.calls, ["stopping", "stopping"])
        self.assertNoResult(stopped)
        self.handed_over.callback([])
        self.successResultOf(stopped)
        self.assertEqual(self.calls[2:], ["save", "stop"])

    def test_stop_while_starting(self) -> None:
        """A process that is stopped before it has begun leaves the store alone."""
        self.service.privilegedStartService()
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.reactor.advance(1)
        self.loaded.callback(None)
        self.assertEqual(self.calls, ["start", "stopping", "stopping", "stop"])

    def test_second_signal(self) -> None:
        """A second ``SIGTERM`` while devlxd stops changes nothing."""
        self.start()
        signal.signal(signal.SIGTERM, lambda *_: self.service.stopService())
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        self.handed_over.callback([])
        self.assertEqual(self.calls, ["stopping", "stopping", "save", "stop"])

    def test_handover_fails(self) -> None:
        """If the connections cannot be handed over, the services stop all the same."""
        self.start()
        self.handed_over.errback(ZeroDivisionError())
        self.successResultOf(self.service.stopService())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.calls[-1], "stop")

    def test_reload(self) -> None:
        """The manager learns when a reload begins and ends."""
        self.start()
        self.reloaded = reloaded = Deferred[None]()
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(self.calls, ["reloading", "reloading", "reload"])
        reloaded.callback(None)
        self.assertEqual(self.calls[3:], ["serving", "ready"])

    def test_reload_fails(self) -> None:
        """After a reload that failed, devlxd continues."""
        self.start()
        self.reloaded = fail(ZeroDivisionError())
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.calls[-1], "ready")

    def test_reload_while_starting(self) -> None:
        """A reload before devlxd is ready does not report it as ready."""
        self.service.privilegedStartService()
        self.service.startService()
        self.reactor.advance(0)
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(self.calls, ["start", "alive", "take", "reload"])
