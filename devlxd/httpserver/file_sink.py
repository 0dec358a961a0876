# -*- test-case-name: tests.httpserver.test_sinks -*-
"""A sink for the body of a response, parts of which are in files."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from devlxd.httpserver.body_sink import BodySink, Exchange
from devlxd.httpserver.file_transport import MOST_UNREAD, FileTransport
from devlxd.interfaces import IFileSink, IStream
from devlxd.model import FileRange


@implementer(IFileSink)
class FileSink(BodySink):
    """A `BodySink` that can send from files as well.

    :param transport: the transport of the request.
    """

    most_unread = MOST_UNREAD
    _is_sending = False

    def __init__(
        self,
        request: Exchange,
        stream: IStream,
        stall_timeout: float,
        transport: FileTransport,
    ) -> None:
        super().__init__(request, stream, stall_timeout)
        self._transport = transport

    def write(self, data: bytes) -> None:
        """See `ISink.write`."""
        self._transport.restore_buffer()
        super().write(data)

    def send(self, data: FileRange, seconds: float) -> Deferred[int]:
        """See `IFileSink.send`."""
        self._is_sending = True
        # The head of the response, if this is the first data.
        self._request.write(b"")
        self.begin_wait()
        clock = self._channel.server.reactor
        until = clock.seconds() + seconds

        def may_continue() -> bool:
            self.begin_wait()
            return clock.seconds() < until

        return self._transport.send_file(data, may_continue).addCallback(self._sent)

    def resumeProducing(self) -> None:
        """See `BodySink.resumeProducing`: if a file follows, that must be read, too."""
        super().resumeProducing()
        if self._is_sending:
            self.begin_wait()

    def _sent(self, size: int) -> int:
        self._is_sending = False
        self.end_wait()
        return size


def body_sink(request: Exchange, stream: IStream, stall_timeout: float) -> BodySink:
    """Return a sink that can send files, if the connection can.

    See `BodySink` for the parameters.
    """
    transport: object = request.channel.transport
    if request.channel.server.sends_files and isinstance(transport, FileTransport):
        return FileSink(request, stream, stall_timeout, transport)
    return BodySink(request, stream, stall_timeout)
