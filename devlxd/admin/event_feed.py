# -*- test-case-name: tests.admin.test_event_feed -*-
"""The events that operators follow: what happens, as lines of JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from devlxd.admin.responses import json_line
from devlxd.timestamps import utc_text

#: How many lines a second one guest can cause. The others are counted, not sent.
#: Questions, which few operators follow, are counted apart.
LINES_PER_SECOND = 100


class Follower(Protocol):
    """A receiver of the lines of a feed."""

    @property
    def has_questions(self) -> bool:
        """Whether it follows questions too."""

    def receive(self, line: bytes) -> None:
        """Called with each line."""

    def end(self) -> None:
        """Called when there are no more lines."""


class EventFeed:
    """The source of the events, for any number of followers.

    Without followers an event costs nothing.

    :param reactor: for the limit of lines.
    :param now: returns the time, in nanoseconds since 1970.
    :ivar is_followed: whether there are followers.
    :ivar has_questions: whether one of them follows questions.
    """

    def __init__(self, reactor: IReactorTime, now: Callable[[], int]) -> None:
        self._reactor = reactor
        self._now = now
        self._followers: dict[Follower, None] = {}
        self._sent: Counter[tuple[str | None, bool]] = Counter()
        self._second: IDelayedCall | None = None
        self.is_followed = False
        self.has_questions = False

    def add(self, follower: Follower) -> None:
        """Add a follower, which receives all events from now on."""
        self._followers[follower] = None
        self._update()

    def remove(self, follower: Follower) -> None:
        """Remove a follower; do nothing if it was removed."""
        self._followers.pop(follower, None)
        self._update()

    def _update(self) -> None:
        self.is_followed = bool(self._followers)
        self.has_questions = any(one.has_questions for one in self._followers)
        if not self._followers and self._second is not None:
            self._second.cancel()
            self._second = None
            self._sent.clear()

    def end(self) -> None:
        """End the streams of all followers, which remove themselves."""
        for follower in list(self._followers):
            follower.end()

    def by_operator(self, event: str, container: str, **fields: object) -> None:
        """Send an event that an operator has caused; there is no limit."""
        if self.is_followed:
            self._send(event, container, fields, is_question=False)

    def by_guest(
        self, event: str, container: str | None, is_question: bool, **fields: object
    ) -> None:
        """Send an event that a guest has caused, unless it causes too many.

        :param container: its name; ``None`` if the caller was not identified.
        :param is_question: whether only those receive it that follow questions.
        """
        if not (self.has_questions if is_question else self.is_followed):
            return
        key = container, is_question
        self._sent[key] += 1
        if self._second is None:
            self._second = self._reactor.callLater(1, self._end_second)
        if self._sent[key] <= LINES_PER_SECOND:
            self._send(event, container, fields, is_question)

    def _end_second(self) -> None:
        """Send the numbers of the lines that were not sent."""
        self._second = None
        sent, self._sent = self._sent, Counter()
        for (container, is_question), count in sent.items():
            if count > LINES_PER_SECOND:
                skipped = {"count": count - LINES_PER_SECOND}
                self._send("skipped", container, skipped, is_question)

    def _send(
        self,
        event: str,
        container: str | None,
        fields: Mapping[str, object],
        is_question: bool,
    ) -> None:
        line = self.line(event, container, fields)
        for follower in list(self._followers):
            if follower.has_questions or not is_question:
                follower.receive(line)

    def line(
        self,
        event: str,
        container: str | None,
        fields: Mapping[str, object],
    ) -> bytes:
        """Return the line of an event that happens now."""
        timestamp = utc_text(self._now())
        return json_line(
            {"timestamp": timestamp, "event": event, "container": container, **fields}
        )
