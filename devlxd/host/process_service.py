# -*- test-case-name: tests.host.test_process_service -*-
"""The service at the top of a process: its start, its end, and its signals."""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from devlxd.host.connection_handover import ConnectionHandover
from devlxd.host.notifier import NullNotifier
from devlxd.interfaces import IDevLXDReactor, INotifier

#: The time between two updates of the status, in seconds.
STATUS_INTERVAL = 10.0


def _nothing_to_load() -> Deferred[None]:
    return succeed(None)


class ProcessService(MultiService):
    """The parent of all services in the process of ``twistd devlxd``.

    :param reactor: calls ``on_hangup`` outside the signal handler.
    :param acquire_locks: called before ``privilegedStartService`` of the children,
        after a daemon has forked; may raise `SystemExit`.
    :param check_privileges: called before ``startService`` of the children, after
        the process has dropped privileges (``twistd --uid``); may raise `SystemExit`.
    :param on_hangup: called for each ``SIGHUP``; may return a Deferred.
    :param notifier: the manager of the process; default: none.
    :param handover: the connections that the last process has left, and that are
        left to the next one; default: connections are closed when the service stops.
    :param loaded: returns a Deferred that fires when all that is served has been
        read; it does not fail. Default: there is nothing to read.
    :param status: returns one line for the operator: what is served.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IDevLXDReactor,
        acquire_locks: Callable[[], None],
        check_privileges: Callable[[], None],
        on_hangup: Callable[[], object],
        notifier: INotifier | None = None,
        handover: ConnectionHandover | None = None,
        loaded: Callable[[], Deferred[None]] = _nothing_to_load,
        status: Callable[[], str] = lambda: "running",
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._acquire_locks = acquire_locks
        self._check_privileges = check_privileges
        self._on_hangup = on_hangup
        self._loaded = loaded
        self._status = status
        self._notifier = notifier or NullNotifier()
        self._handover = handover
        self._has_begun = False
        self._is_stopping = False
        self._is_ready = False
        self._last_status = ""
        self._watchdog = LoopingCall(self._notifier.alive)
        self._reports = LoopingCall(lambda: self._report(self._status()))
        self._watchdog.clock = self._reports.clock = reactor

    def privilegedStartService(self) -> None:
        """See `IService.privilegedStartService`.

        Install the signal handlers and acquire the locks first.
        """
        signal.signal(signal.SIGHUP, self._handle_hangup)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            # twistd may use them to rotate its log or to start a debugger.
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, signal.SIG_IGN)
        self._acquire_locks()
        super().privilegedStartService()

    def startService(self) -> None:
        """See `IService.startService`; check the privileges first."""
        self._check_privileges()
        super().startService()
        # In the reactor: until then SIGTERM kills the process, and the connections
        # have to stay in the store.
        self._reactor.callLater(0, self._begin)

    def _begin(self) -> None:
        """Take connections over, and report when everything is loaded."""
        if self._is_stopping:
            return
        self._has_begun = True
        if self._notifier.watchdog:
            self._watchdog.start(self._notifier.watchdog / 2)
        if self._handover is not None:
            self._handover.take()
        self._loaded().addCallback(self._ready)

    def _ready(self, _result: object) -> None:
        if self._is_stopping:
            return
        self._is_ready = True
        if not self._reports.running:
            self._reports.start(STATUS_INTERVAL, now=False)
        self._report(self._status())
        self._notifier.ready()

    def _report(self, status: str) -> None:
        """Report the status to the manager, if it has changed."""
        if status != self._last_status:
            self._last_status = status
            self._notifier.status(status)

    def stopService(self) -> Deferred[None]:
        """See `IService.stopService`.

        Before the children are stopped, hand the connections over: after that, no
        handed-over connection may be registered with the reactor, which would end
        it when it stops.
        """
        if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            # The reactor would log an error for a second one.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._is_stopping = True
        self._notifier.stopping()
        self._report("stopping")
        if self._reports.running:
            self._reports.stop()
        handed_over = maybeDeferred(self._hand_over)
        handed_over.addErrback(
            lambda failure: self._log.failure(
                "connections cannot be handed over and are closed", failure
            )
        )
        return handed_over.addCallback(self._stop)

    def _hand_over(self) -> Deferred[None]:
        if self._handover is None or not self._has_begun:
            # What is in the store stays there.
            return succeed(None)
        return self._handover.save()

    def _stop(self, _result: object) -> Deferred[None]:
        if self._watchdog.running:
            self._watchdog.stop()
        stopped: Deferred[None] = super().stopService()
        return stopped

    def _handle_hangup(self, _number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        if self._is_ready:
            self._notifier.reloading()
            self._report("reloading")
        reloaded = maybeDeferred(self._on_hangup)
        reloaded.addErrback(self._reload_failed)
        if self._is_ready:
            reloaded.addCallback(lambda _: self._loaded())
            reloaded.addCallback(self._ready)

    def _reload_failed(self, failure: Failure) -> None:
        self._log.failure("reloading failed", failure)
