# -*- test-case-name: tests.httpserver.test_stream_checks -*-
"""Regular checks of very many streams, with one timer."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: How many streams are checked in one iteration of the reactor.
BATCH = 100


class Checked(Protocol):
    """A stream that is checked."""

    def check(self) -> None:
        """Check whether the client is still connected and reading."""

    def __hash__(self) -> int:
        """Return the hash, of its identity."""


class StreamChecks:
    """The checks of all streams of one kind.

    Each stream is checked at equal intervals from its beginning. A delayed call for
    each would need more memory than the rest of what a stream needs, and more time.

    :param reactor: calls back.
    :param interval: the time between two checks of one stream, in seconds.
    """

    def __init__(self, reactor: IReactorTime, interval: float) -> None:
        self._reactor = reactor
        self._interval = interval
        #: The time of the next check of each stream, the earliest first.
        self._due: OrderedDict[Checked, float] = OrderedDict()
        self._call: IDelayedCall | None = None

    def add(self, stream: Checked) -> None:
        """Check a stream regularly from now on."""
        self._due[stream] = self._reactor.seconds() + self._interval
        if len(self._due) == 1:
            self._call = self._reactor.callLater(self._interval, self._check)

    def remove(self, stream: Checked) -> None:
        """Check a stream no longer; do nothing if it is not checked."""
        self._due.pop(stream, None)
        if self._call is not None and not self._due:
            self._call.cancel()
            self._call = None

    def _check(self) -> None:
        self._call = None
        now = self._reactor.seconds()
        try:
            for _ in range(BATCH):
                stream = next(iter(self._due), None)
                if stream is None or self._due[stream] > now:
                    break
                self._due[stream] = now + self._interval
                self._due.move_to_end(stream)
                stream.check()
        finally:
            self._check_later(now)

    def _check_later(self, now: float) -> None:
        if self._due and self._call is None:
            due = next(iter(self._due.values()))
            self._call = self._reactor.callLater(max(due - now, 0), self._check)
