# -*- test-case-name: tests.test_observers -*-
"""Observers of a service that never raise exceptions."""

from __future__ import annotations

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
    """An observer that calls others, and logs the exceptions that they raise.

    :param observers: the others. Each is called even if another one has failed.
    """

    _log = Logger()

    def __init__(self, *observers: IServiceObserver) -> None:
        # By the name of a method: the observers that it does something for.
        self._observers = {
            name: tuple(
                observer
                for observer in observers
                if getattr(type(observer), name, None) is not method
            )
            for name, method in _DOING_NOTHING.items()
        }

    def connected(self, caller: Caller) -> None:
        """See `IServiceObserver.connected`."""
        self._notify("connected", caller)

    def refused(self, container: str | None, refusal: Refusal, reason: str) -> None:
        """See `IServiceObserver.refused`."""
        self._notify("refused", container, refusal, reason)

    def asked(self, container: str, path: str, code: int) -> None:
        """See `IServiceObserver.asked`."""
        self._notify("asked", container, path, code)

    def responded(self, dialect: str, code: int, seconds: float) -> None:
        """See `IServiceObserver.responded`."""
        self._notify("responded", dialect, code, seconds)

    def answered(
        self,
        dialect: str,
        code: int,
        seconds: float,
        caller: Caller | None,
        path: bytes,
    ) -> None:
        """Notify of a response: `asked`, and then `responded`.

        This is part of each question, and so one call. A subclass can do less here.

        :param caller: who asked; ``None`` if the request did not pass the gate.
        :param path: the requested path, percent-encoded, without the query.
        """
        if caller is not None and self._observers["asked"]:
            self.asked(caller.container, path.decode("latin-1"), code)
        if self._observers["responded"]:
            self.responded(dialect, code, seconds)

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IServiceObserver.changed`."""
        self._notify("changed", name, old, new)

    def recorded(self, container: str, count: int) -> None:
        """See `IServiceObserver.recorded`."""
        self._notify("recorded", container, count)

    def lost(self, container: str) -> None:
        """See `IServiceObserver.lost`."""
        self._notify("lost", container)

    def _notify(self, name: str, *args: object) -> None:
        for observer in self._observers[name]:
            try:
                getattr(observer, name)(*args)
            except Exception:
                self._log_failure(name)

    def _log_failure(self, name: str) -> None:
        self._log.failure(
            "the observer of the service failed in {method}; devlxd continues",
            method=name,
        )


#: The methods of an observer that does nothing, which need not be called.
_DOING_NOTHING = {
    name: getattr(NullObserver, name) for name in IServiceObserver.names()
}


def guarded(observer: IServiceObserver | None) -> GuardedObserver:
    """Return an observer that never raises; for ``None``, one that does nothing."""
    if observer is None:
        return GuardedObserver()
    if isinstance(observer, GuardedObserver):
        return observer
    return GuardedObserver(observer)
