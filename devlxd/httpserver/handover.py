# -*- test-case-name: tests.httpserver.test_handover -*-
"""Capturing all connections of a site for the next process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from operator import itemgetter

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from devlxd.httpserver.connection_state import MAX_OF_ALL, ConnectionState
from devlxd.httpserver.handover_channel import HandoverChannel
from devlxd.httpserver.server import Server

#: For how long pending responses may continue, in seconds. Then their connections are
#: closed.
TIMEOUT = 2.0

#: A captured connection: a file descriptor of its socket, and its state.
Captured = tuple[int, ConnectionState]


class Handover:
    """The capture of all connections of a site, when their responses are sent.

    :param server: has the connections.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._unsettled: set[HandoverChannel] = set()
        self._captured: Deferred[list[Captured]] = Deferred()
        self._capture_call: IDelayedCall | None = None

    def start(self) -> Deferred[list[Captured]]:
        """Capture the connections.

        The client's end of a captured connection stays connected. Nothing of this
        process writes to it.

        :return: a Deferred that fires after `TIMEOUT` at the latest.
        """
        channels = self._channels()
        for channel in channels:
            channel.freeze(self._settled)
        self._unsettled = {one for one in channels if not one.is_settled}
        if self._unsettled:
            self._capture_in(TIMEOUT)
        else:
            self._capture()
        return self._captured

    def _channels(self) -> list[HandoverChannel]:
        return [one for one in self._server.all() if isinstance(one, HandoverChannel)]

    def _settled(self, channel: HandoverChannel) -> None:
        if channel in self._unsettled:
            self._unsettled.discard(channel)
            if not self._unsettled:
                # The channel is about to continue after this call.
                self._capture_in(0)

    def _capture_in(self, seconds: float) -> None:
        if self._capture_call is not None:
            self._capture_call.cancel()
        self._capture_call = self._server.reactor.callLater(seconds, self._capture)

    def _capture(self) -> None:
        self._unsettled.clear()
        captured, left = [], MAX_OF_ALL
        for size, channel in _by_data(self._channels()):
            left -= size
            if left < 0 or not channel.is_settled:
                channel.forceAbortClient()
            elif (one := channel.capture()) is not None:
                captured.append(one)
        self._captured.callback(captured)


def _by_data(channels: Iterable[HandoverChannel]) -> list[tuple[int, HandoverChannel]]:
    """Return pairs of the size of the data of a channel, and the channel.

    They are in an order in which neither connections with much data, nor owners with
    much data in many connections, take the place of others.
    """
    totals: Counter[Hashable] = Counter()
    ranked = []
    sizes = ((one.size, one) for one in channels)
    for size, channel in sorted(sizes, key=itemgetter(0)):
        totals[channel.owner] += size
        ranked.append((totals[channel.owner], size, channel))
    return [(size, one) for _, size, one in sorted(ranked, key=itemgetter(0))]
