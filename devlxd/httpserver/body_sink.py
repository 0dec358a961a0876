# -*- test-case-name: tests.httpserver.test_paced_body -*-
"""Sending the body of one response to a client, which may stop reading."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.httpserver.channel import DevLXDChannel
from devlxd.httpserver.framing import whole_line
from devlxd.interfaces import ISink, IStream


class Exchange(Protocol):
    """The attributes and methods of a request that a sink uses.

    :ivar channel: the connection of the request.
    :ivar is_disconnected: whether the connection was lost.
    :ivar clientproto: the protocol of the request, such as ``HTTP/1.1``.
    """

    channel: DevLXDChannel
    clientproto: bytes
    is_disconnected: bool

    def write(self, data: bytes) -> None:
        """See `IRequest.write`."""

    def finish(self) -> None:
        """See `IRequest.finish`."""

    def fail(self, failure: Failure) -> None:
        """End the response because of an error."""

    def notifyFinish(self) -> Deferred[None]:
        """See `Request.notifyFinish`."""

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See `Request.registerProducer`."""

    def unregisterProducer(self) -> None:
        """See `Request.unregisterProducer`."""


@implementer(ISink, IPushProducer)
class BodySink:
    """A sink for the body of a response, whose headers give its length.

    The head of the response is sent together with the first data. Until then, the
    response can be replaced by that of an error.

    :param request: the request to respond to.
    :param stream: writes the body.
    :param stall_timeout: for how long the client may stop reading, in seconds, before
        the connection is aborted.
    """

    #: See `devlxd.httpserver.closing_channel.ActiveResponse.endless`.
    endless = False

    def __init__(
        self, request: Exchange, stream: IStream, stall_timeout: float
    ) -> None:
        self._request = request
        self._channel = request.channel
        self._stream = stream
        self._stall_timeout = stall_timeout
        self._stall_call: IDelayedCall | None = None

    def start(self) -> None:
        """Send the body."""
        self._channel.response = self
        self._request.notifyFinish().addErrback(lambda _: self._stop())
        self._request.registerProducer(self, True)
        try:
            self._stream.start(self)
        except Exception:
            self.fail(Failure())

    def write(self, data: bytes) -> None:
        """See `ISink.write`."""
        self._request.write(data)

    #: See `ISink.frame`: a body has no messages.
    frame = staticmethod(whole_line)

    def write_framed(self, data: bytes) -> None:
        """See `ISink.write_framed`."""
        self.write(data)

    def finish(self, reason: str = "") -> None:
        """See `ISink.finish`."""
        self._stop()
        self._request.finish()

    def fail(self, failure: Failure) -> None:
        """See `ISink.fail`."""
        self._stop()
        self._request.fail(failure)

    def cut_off(self, reason: str) -> None:
        """See `ISink.cut_off`: abort the connection."""
        self.abort()

    def abort(self) -> None:
        """See `ISink.abort`."""
        self._channel.forceAbortClient()

    def close(self) -> None:
        """See `ActiveResponse.close`: the client sees that the body is incomplete."""
        self.abort()

    def _stop(self) -> None:
        self.end_wait()
        self._stream.close()
        if not self._request.is_disconnected:
            self._channel.response = None
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`; it may be called repeatedly."""
        if self._stall_call is None:
            self.begin_wait()
        self._stream.pause()

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`."""
        self.end_wait()
        self._stream.resume()

    def stopProducing(self) -> None:
        """See `IProducer.stopProducing`: `Exchange.notifyFinish` fires next."""

    def begin_wait(self) -> None:
        """Called when nothing more can be sent until the client reads.

        If that was so before, the time begins anew.
        """
        if self._stall_call is None:
            self._stall_call = self._channel.callLater(self._stall_timeout, self.abort)
        elif self._stall_call.active():
            self._stall_call.reset(self._stall_timeout)

    def end_wait(self) -> None:
        """Called when the client has read, or the response has ended."""
        stall_call, self._stall_call = self._stall_call, None
        if stall_call is not None and stall_call.active():
            stall_call.cancel()
