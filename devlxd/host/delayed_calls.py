# -*- test-case-name: tests.host.test_delayed_calls -*-
"""Delayed calls of one object: at most one of each kind, cancelled together."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class DelayedCalls:
    """The delayed calls of one object.

    :param reactor: makes the calls.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._pending: dict[str, IDelayedCall] = {}

    def __contains__(self, kind: str) -> bool:
        """Return whether a call of this kind is pending."""
        return kind in self._pending

    def later(self, kind: str, seconds: float, function: Callable[[], None]) -> None:
        """Call a function later, unless a call of this kind is pending."""
        if kind in self._pending:
            return

        def call() -> None:
            del self._pending[kind]
            function()

        self._pending[kind] = self._reactor.callLater(seconds, call)

    def cancel(self) -> None:
        """Cancel all calls."""
        for call in self._pending.values():
            call.cancel()
        self._pending.clear()
