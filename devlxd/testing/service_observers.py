# -*- test-case-name: tests.test_observers -*-
"""An observer for tests of services."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from devlxd.interfaces import IServiceObserver
from devlxd.model import Caller, Container, Refusal


@implementer(IServiceObserver)
class RecordingServiceObserver:
    """An observer that records its notifications.

    :ivar notifications: for each call, the name of the method and its arguments.
    """

    def __init__(self) -> None:
        self.notifications: list[tuple[Any, ...]] = []

    def connected(self, caller: Caller) -> None:
        """See `IServiceObserver.connected`."""
        self.notifications.append(("connected", caller))

    def refused(self, container: str | None, refusal: Refusal, reason: str) -> None:
        """See `IServiceObserver.refused`."""
        self.notifications.append(("refused", container, refusal, reason))

    def asked(self, container: str, path: str, code: int) -> None:
        """See `IServiceObserver.asked`."""
        self.notifications.append(("asked", container, path, code))

    def responded(self, dialect: str, code: int, seconds: float) -> None:
        """See `IServiceObserver.responded`."""
        self.notifications.append(("responded", dialect, code))

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IServiceObserver.changed`."""
        self.notifications.append(("changed", name, old, new))

    def recorded(self, container: str, count: int) -> None:
        """See `IServiceObserver.recorded`."""
        self.notifications.append(("recorded", container, count))

    def lost(self, container: str) -> None:
        """See `IServiceObserver.lost`."""
        self.notifications.append(("lost", container))
