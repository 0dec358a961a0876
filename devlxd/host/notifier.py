# -*- test-case-name: tests.host.test_notifier -*-
"""Telling the service manager the state of this process (``sd_notify(3)``)."""

from __future__ import annotations

import time

from zope.interface import implementer

from devlxd.host.notify_socket import NotifySocket
from devlxd.interfaces import INotifier


@implementer(INotifier)
class NullNotifier:
    """The notifier of a process that no service manager has started."""

    watchdog = 0.0

    def ready(self) -> None:
        """See `INotifier.ready`; does nothing."""

    def status(self, text: str) -> None:
        """See `INotifier.status`; does nothing."""

    def reloading(self) -> None:
        """See `INotifier.reloading`; does nothing."""

    def stopping(self) -> None:
        """See `INotifier.stopping`; does nothing."""

    def alive(self) -> None:
        """See `INotifier.alive`; does nothing."""


@implementer(INotifier)
class SystemdNotifier:
    """The notifier of a process that systemd has started.

    :param notify_socket: the socket of systemd.
    :param watchdog: see `INotifier`.
    """

    def __init__(self, notify_socket: NotifySocket, watchdog: float = 0.0) -> None:
        self._socket = notify_socket
        self.watchdog = watchdog

    def ready(self) -> None:
        """See `INotifier.ready`."""
        self._socket.send("READY=1")

    def status(self, text: str) -> None:
        """See `INotifier.status`."""
        self._socket.send("STATUS=" + " ".join(text.split()))

    def reloading(self) -> None:
        """See `INotifier.reloading`."""
        # ``Type=notify-reload`` requires the time; ``Type=notify`` ignores it.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._socket.send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """See `INotifier.stopping`."""
        self._socket.send("STOPPING=1")

    def alive(self) -> None:
        """See `INotifier.alive`."""
        self._socket.send("WATCHDOG=1")
