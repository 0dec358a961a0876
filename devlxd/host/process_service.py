# -*- test-case-name: tests.host.test_process_service -*-
"""The service at the top of a process: signals, locks and privileges."""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorFromThreads


class ProcessService(MultiService):
    """The parent of all services in the process of ``twistd devlxd``.

    :param reactor: calls ``on_hangup`` outside the signal handler.
    :param acquire_locks: called before ``privilegedStartService`` of the children,
        after a daemon has forked; may raise `SystemExit`.
    :param check_privileges: called before ``startService`` of the children, after
        the process has dropped privileges (``twistd --uid``); may raise `SystemExit`.
    :param on_hangup: called for each ``SIGHUP``.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        acquire_locks: Callable[[], None],
        check_privileges: Callable[[], None],
        on_hangup: Callable[[], None],
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._acquire_locks = acquire_locks
        self._check_privileges = check_privileges
        self._on_hangup = on_hangup

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

    def _handle_hangup(self, _number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._on_hangup)
