# -*- test-case-name: tests.containers.test_directory_store -*-
"""Delayed removals of the containers whose documents are missing."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: How long a document may be missing before its container is removed, in seconds:
#: editors move the old file away before they write the new one.
GRACE = 1.0


class Removals:
    """The pending removals of containers whose documents are missing.

    :param reactor: schedules the removals.
    :param remove: called with the name of a container that is to be removed.
    """

    def __init__(self, reactor: IReactorTime, remove: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._remove = remove
        self._calls: dict[str, IDelayedCall] = {}

    def schedule(self, name: str) -> None:
        """Remove the container ``name`` in `GRACE` seconds."""
        if name not in self._calls:
            self._calls[name] = self._reactor.callLater(GRACE, self._expired, name)

    def _expired(self, name: str) -> None:
        del self._calls[name]
        self._remove(name)

    def cancel(self, name: str) -> None:
        """Cancel the removal of the container ``name``, if one is pending."""
        call = self._calls.pop(name, None)
        if call is not None:
            call.cancel()

    def cancel_all(self) -> None:
        """Cancel all pending removals."""
        for name in list(self._calls):
            self.cancel(name)
