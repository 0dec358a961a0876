# -*- test-case-name: tests.client.test_events -*-
"""The events of a guest, for programs on Twisted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import closing, suppress
from datetime import datetime, timezone

from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import deferLater

from devlxd.client.connections import in_time
from devlxd.client.errors import Unavailable
from devlxd.client.event_feed import LONGEST_PAUSE, EventFeed, pauses
from devlxd.client.event_socket import EventSocket, event_socket_factory
from devlxd.client.values import Event


async def listen(
    reactor: IReactorTime,
    endpoint: IStreamClientEndpoint,
    feed: EventFeed,
    timeout: float,
) -> AsyncGenerator[Event, None]:
    """Yield the events of a feed, and connect again when a connection ends.

    :param timeout: how long it may take to open a connection, in seconds.
    """
    waits, was_open = pauses(), False
    while True:
        opening = _open(reactor, endpoint, feed)
        try:
            socket, headers = await in_time(opening, reactor, timeout)
        except Unavailable:
            if not was_open:
                raise
        else:
            was_open, begun = True, reactor.seconds()
            # Nothing is awaited to close it: that also works when the generator is
            # collected instead of closed.
            with closing(socket), suppress(Unavailable):
                lost = feed.begin(headers, _now(reactor))
                if lost is not None:
                    yield lost
                while True:
                    event = feed.receive(await socket.receive())
                    if event is not None:
                        waits = pauses()
                        yield event
            if reactor.seconds() - begun >= LONGEST_PAUSE:
                waits = pauses()
        await deferLater(reactor, next(waits))


async def _open(
    reactor: IReactorTime, endpoint: IStreamClientEndpoint, feed: EventFeed
) -> tuple[EventSocket, Mapping[str, str]]:
    """Open a connection; return it, and the headers of the response."""
    connected = await endpoint.connect(event_socket_factory(feed.request(), reactor))
    assert isinstance(connected, EventSocket)
    try:
        return connected, await connected.opened
    except BaseException:
        connected.close()
        raise


def _now(reactor: IReactorTime) -> str:
    now = datetime.fromtimestamp(reactor.seconds(), timezone.utc)
    return now.isoformat().replace("+00:00", "Z")
