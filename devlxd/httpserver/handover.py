# -*- test-case-name: tests.httpserver.test_handover -*-
"""Capturing all connections of a site for the next process."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from devlxd.httpserver.connection_state import MAX_UNSENT_OF_ALL, ConnectionState
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
        captured, unsent = [], 0
        for channel in self._channels():
            if not channel.is_settled or unsent > MAX_UNSENT_OF_ALL:
                channel.forceAbortClient()
                continue
            one = channel.capture()
            if one is not None:
                captured.append(one)
                unsent += len(one[1].unsent)
        self._captured.callback(captured)
