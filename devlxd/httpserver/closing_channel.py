# -*- test-case-name: tests.httpserver.test_site -*-
"""Closing connections: timeouts, and clients that do not read."""

from __future__ import annotations

from typing import Protocol

from devlxd.httpserver.server import Server
from devlxd.httpserver.twisted_private_apis import HTTPChannelBase


class ActiveResponse(Protocol):
    """A response that is being sent, or is pending.

    :ivar endless: whether the response continues until the connection is closed.
    """

    endless: bool

    def close(self) -> None:
        """End the response, and close the connection; may be called repeatedly."""


class ClosingChannel(HTTPChannelBase):
    """A connection that is always closed eventually, even if the client stalls.

    `HTTPChannel` restarts its timer whenever it receives data, so that a client that
    sends single bytes could keep a request open indefinitely. Here only the first byte
    of a request starts the timer, see `DevLXDChannel`.

    :ivar server: the objects that the connections of the site share.
    :ivar response: the response that is being streamed, or the stream that is pending;
        ``None`` if there is neither.
    """

    server: Server
    response: ActiveResponse | None = None

    @property
    def is_endless(self) -> bool:
        """Whether the connection carries an endless stream."""
        return self.response is not None and self.response.endless

    def resetTimeout(self) -> None:
        """See `TimeoutMixin.resetTimeout`: do nothing, so that the timer runs on."""

    def timeoutConnection(self) -> None:
        """See `TimeoutMixin.timeoutConnection`: close the connection."""
        self.close()

    def loseConnection(self) -> None:
        """See `ITransport.loseConnection`: abort later if the client does not read."""
        self.abort_within(self.server.limits.value.idle_timeout)
        super().loseConnection()

    def close(self) -> None:
        """See `IConnection.close`."""
        self.abort_within(self.server.limits.value.close_timeout)
        if self.response is not None:
            self.response.close()
        elif not self.transport.disconnecting:
            super().loseConnection()

    def interrupt(self) -> None:
        """See `IConnection.interrupt`."""
        if self.response is not None:
            self.close()

    def retire(self) -> None:
        """See `IConnection.retire`."""
        if self.is_endless:
            self.abort_within(self.server.limits.value.idle_timeout)
        else:
            self.close()

    def abort_within(self, seconds: float) -> None:
        """Abort after ``seconds``, or earlier if an earlier abort is scheduled."""
        if self.abort_call is not None:
            if self.abort_call.getTime() <= self.server.reactor.seconds() + seconds:
                return
            self.abort_call.cancel()
        self.abort_call = self.callLater(seconds, self.forceAbortClient)

    def forceAbortClient(self) -> None:
        """See `HTTPChannel.forceAbortClient`: abort the connection immediately."""
        if self.abort_call is not None and self.abort_call.active():
            self.abort_call.cancel()
        self.abort_call = None
        self.transport.abortConnection()
