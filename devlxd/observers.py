# -*- test-case-name: tests.test_observers -*-
"""Observers of a service that never raise exceptions."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import IServiceObserver
from devlxd.model import Caller, Container, Refusal


@implementer(IServiceObserver)
class NullObserver:
    """An observer that does nothing."""

    def connected(self, caller: Caller) -> None:
        """See `IServiceObserver.connected`."""

    def refused(self, container: str | None, refusal: Refusal, reason: str) -> None:
        """See `IServiceObserver.refused`."""

    def asked(self, container: str, path: str, code: int) -> None:
        """See `IServiceObserver.asked`."""

    def responded(self, dialect: str, code: int, seconds: float) -> None:
        """See `IServiceObserver.responded`."""

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IServiceObserver.changed`."""

    def recorded(self, container: str, count: int) -> None:
        """See `IServiceObserver.recorded`."""

    def lost(self, container: str) -> None:
        """See `IServiceObserver.lost`."""


@implementer(IServiceObserver)
class GuardedObserver:
    """An observer that calls another one, and logs the exceptions that it raises."""

    _log = Logger()

    def __init__(self, observer: IServiceObserver) -> None:
        self._observer = observer

    def connected(self, caller: Caller) -> None:
        """See `IServiceObserver.connected`."""
        self._notify("connected", self._observer.connected, caller)

    def refused(self, container: str | None, refusal: Refusal, reason: str) -> None:
        """See `IServiceObserver.refused`."""
        self._notify("refused", self._observer.refused, container, refusal, reason)

    def asked(self, container: str, path: str, code: int) -> None:
        """See `IServiceObserver.asked`."""
        self._notify("asked", self._observer.asked, container, path, code)

    def responded(self, dialect: str, code: int, seconds: float) -> None:
        """See `IServiceObserver.responded`."""
        self._notify("responded", self._observer.responded, dialect, code, seconds)

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IServiceObserver.changed`."""
        self._notify("changed", self._observer.changed, name, old, new)

    def recorded(self, container: str, count: int) -> None:
        """See `IServiceObserver.recorded`."""
        self._notify("recorded", self._observer.recorded, container, count)

    def lost(self, container: str) -> None:
        """See `IServiceObserver.lost`."""
        self._notify("lost", self._observer.lost, container)

    def _notify(self, name: str, method: Callable[..., None], *args: object) -> None:
        try:
            method(*args)
        except Exception:
            self._log.failure(
                "the observer of the service failed in {method}; devlxd continues",
                method=name,
            )


def guarded(observer: IServiceObserver | None) -> IServiceObserver:
    """Return an observer that never raises; for ``None``, one that does nothing."""
    if observer is None:
        return NullObserver()
    if isinstance(observer, GuardedObserver | NullObserver):
        return observer
    return GuardedObserver(observer)
