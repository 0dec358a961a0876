# -*- test-case-name: tests.client.test_sync_events -*-
"""The events of a guest, for programs without Twisted.

They are read as lines of a response without an end, which devlxd, LXD and Incus all
send to a client that does not ask for a websocket. A websocket would add nothing: its
pings are for the server, and a server on the same host does not vanish silently.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from http import HTTPStatus
from http.client import HTTPResponse
from select import POLLIN, poll
from time import monotonic
from types import TracebackType

from devlxd.client.errors import Unavailable
from devlxd.client.event_feed import (
    LONGEST_PAUSE,
    MAX_EVENT,
    EventFeed,
    pauses,
    refusal,
)
from devlxd.client.sync_connection import Connection, headers_of
from devlxd.client.sync_socket import Interrupted
from devlxd.client.values import Event


class Events(Iterator[Event]):
    """The events of a feed, over as many connections as necessary.

    One thread at a time may ask for the next event; any thread, and a signal handler,
    may call `close`. After an exception the iterator has ended.

    :param timeout: how long it may take until a server accepts a connection, in
        seconds. An event may take for ever.
    """

    def __init__(self, paths: Sequence[str], timeout: float, feed: EventFeed) -> None:
        self._closer = _Closer()
        # A function, not a method: an iterator that is no longer used closes its
        # connection at once, as nothing refers to it.
        self._events = _listen(paths, timeout, feed, self._closer)

    def __next__(self) -> Event:
        """See `Iterator.__next__`."""
        event = next(self._events)
        if self._closer.closed:
            # By another thread, just when the event was received.
            self._events.close()
        return event

    def __enter__(self) -> Events:
        """Return the iterator, which is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the iterator."""
        self.close()

    def close(self) -> None:
        """End the iterator, also while a thread waits for the next event."""
        self._closer.close()
        with suppress(ValueError):
            # A generator that is running cannot be closed; then its thread wakes up, or
            # looks before it returns.
            self._events.close()


class _Closer:
    """What wakes up a thread that waits for an event.

    :ivar closed: whether the iterator was closed.
    """

    def __init__(self) -> None:
        self.closed = False
        self._sender: socket.socket | None = None

    @contextmanager
    def waker(self) -> Iterator[socket.socket]:
        """Return a socket that is readable as soon as the iterator is closed."""
        try:
            self._sender, receiver = socket.socketpair()
        except OSError as error:
            raise Unavailable(f"no socket: {error.strerror}") from None
        with self._sender, receiver:
            yield receiver

    def close(self) -> None:
        """Wake up the thread."""
        self.closed = True
        if self._sender is not None:
            with suppress(OSError):
                self._sender.shutdown(socket.SHUT_WR)


def _listen(
    paths: Sequence[str], timeout: float, feed: EventFeed, closer: _Closer
) -> Generator[Event, None, None]:
    waits, was_open = pauses(), False
    with closer.waker() as waker, suppress(Interrupted):
        while not closer.closed:
            with closing(Connection(paths, timeout, waker)) as connection:
                try:
                    response = _open(connection, feed)
                except Unavailable:
                    if not was_open:
                        raise
                else:
                    was_open, begun = True, monotonic()
                    lost = feed.begin(headers_of(response), _now())
                    if lost is not None:
                        yield lost
                    with suppress(Unavailable):
                        for event in _receive(connection, response, feed):
                            waits = pauses()
                            yield event
                    if monotonic() - begun >= LONGEST_PAUSE:
                        waits = pauses()
            _pause(next(waits), waker)


def _open(connection: Connection, feed: EventFeed) -> HTTPResponse:
    response = connection.begin(feed.request())
    if response.status != HTTPStatus.OK:
        raise refusal(connection.whole(response))
    return response


def _receive(
    connection: Connection, response: HTTPResponse, feed: EventFeed
) -> Iterator[Event]:
    for line in connection.lines(response, MAX_EVENT):
        event = feed.receive(line)
        if event is not None:
            yield event


def _pause(seconds: float, waker: socket.socket) -> None:
    """Wait for some time, or until a socket is readable."""
    waiting = poll()
    waiting.register(waker, POLLIN)
    waiting.poll(seconds * 1000)


def _now() -> str:
    """Return the current time as a timestamp (RFC 3339)."""
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
