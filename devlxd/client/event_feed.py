# -*- test-case-name: tests.client.test_event_feed -*-
"""The events of a guest over several connections, without input and output."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from urllib.parse import urlencode

from devlxd.client.errors import (
    GuestError,
    NotFound,
    NotSupported,
    ProtocolError,
)
from devlxd.client.exchanges import Request, Response
from devlxd.client.json_values import parse
from devlxd.client.questions import error_of
from devlxd.client.values import Event, Lost

#: The types of events that can be asked for.
TYPES = ("config", "device")

#: The maximum length of an event, in bytes: a value that has been replaced may be as
#: long as a document, and so may the new one.
MAX_EVENT = 64 * 1024 * 1024

#: The maximum length of a timestamp, in characters.
MAX_TIMESTAMP = 64

#: The first and the longest pause before a new connection, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0

#: The response header with the time at which a subscription begins, as devlxd sends it.
#: A server without it does not know ``since``.
POSITION = "x-devlxd-timestamp"


class EventFeed:
    """What a listener has received so far, and what it asks for next.

    :param types: the types of events that are wanted; default: all.
    :param since: the timestamp of the last event that was received before; default: to
        begin now.
    :param on_position: called with the timestamp to continue from when a connection has
        begun, before its first event.
    :raises ValueError: if there is no such type.
    :ivar position: the timestamp to continue from; ``None`` if it is not known.
    """

    def __init__(
        self,
        types: Collection[str] = (),
        since: str | None = None,
        on_position: Callable[[str], object] | None = None,
    ) -> None:
        unknown = [kind for kind in types if kind not in TYPES]
        if unknown:
            known = ", ".join(TYPES)
            raise ValueError(f"{unknown[0]!r} is no type of events: {known}")
        self._types = tuple(types)
        self.position = since
        self._on_position = on_position
        self._is_new = since is None

    def request(self) -> Request:
        """Return the request for a connection."""
        query = {"type": ",".join(self._types), "since": self.position or ""}
        given = {name: value for name, value in query.items() if value}
        path = "/1.0/events"
        return Request(
            f"{path}?{urlencode(given, errors='surrogatepass')}" if given else path
        )

    def begin(self, headers: Mapping[str, str], now: str) -> Lost | None:
        """Begin with a connection.

        :param headers: those of its response, by their names in lower case.
        :param now: the current time as a timestamp.
        :return: what to tell the listener first, if events were lost.
        :raises ProtocolError: if the position in the headers is none.
        """
        start = headers.get(POSITION)
        if start is not None:
            _check_timestamp(start)
        was_new, self._is_new = self._is_new, False
        self.position = self.position or start
        if self._on_position is not None:
            # A server that does not know ``since`` says no position.
            self._on_position(self.position or now)
        return Lost(timestamp=now) if start is None and not was_new else None

    def receive(self, text: bytes) -> Event | None:
        """Return the event that a line or a message is; ``None`` for an empty line.

        :raises ProtocolError: if it is something else.
        """
        if not text.strip():
            return None
        event = _event(text)
        self.position = event.timestamp
        return event


def _event(text: bytes) -> Event:
    try:
        members = parse(text)
        kind, timestamp = members["type"], members["timestamp"]
        metadata = members["metadata"]
    except (ValueError, LookupError, TypeError):
        raise ProtocolError("an event is not a JSON object of an event") from None
    if not (isinstance(kind, str) and isinstance(timestamp, str)):
        raise ProtocolError("an event has a type or a timestamp that is not text")
    _check_timestamp(timestamp)
    if not isinstance(metadata, dict):
        raise ProtocolError("the metadata of an event is not an object")
    if kind == "lost":
        return Lost(timestamp=timestamp, metadata=metadata)
    return Event(kind, timestamp, metadata)


def _check_timestamp(text: str) -> None:
    """Check a timestamp of the server: the next connection sends it back."""
    if len(text) > MAX_TIMESTAMP or not (text.isascii() and text.isprintable()):
        raise ProtocolError("an event has a timestamp that is none")


def refusal(response: Response) -> GuestError:
    """Return the exception for a response without events."""
    error = error_of(response)
    return NotSupported(f"no events: {error}") if type(error) is NotFound else error


def pauses() -> Iterator[float]:
    """Yield the pauses before new connections, in seconds, with jitter.

    After an event, or a connection that has lasted for `LONGEST_PAUSE`, begin anew: a
    server that only accepts connections is not connected to more and more often.
    """
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, LONGEST_PAUSE)
