# -*- test-case-name: tests.httpserver.test_handover -*-
"""Endless streams that began in another process.

The stream is requested from the handler like any other: the caller may have lost its
permission. What differs is that the client has received the head of the response
already. If the handler refuses the stream, it ends as any stream whose caller loses
the permission.
"""

from __future__ import annotations

from zope.interface import implementer

from devlxd.httpserver.connection_state import WEBSOCKET, StreamState
from devlxd.httpserver.request import DevLXDRequest
from devlxd.httpserver.responses import MessageResponse, Response, StreamResponse
from devlxd.httpserver.websocket import MessageWebSocket
from devlxd.interfaces import ISink, IStream

#: The request for a stream. The host and the key have no meaning here.
_REQUEST = "GET {target} {protocol}\r\nHost: localhost\r\n\r\n"
_HANDSHAKE = (
    "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def request_for(stream: StreamState) -> bytes:
    """Return the request for the rest of a stream."""
    template = _HANDSHAKE if stream.protocol == WEBSOCKET else _REQUEST
    request = template.format(target=stream.target, protocol=stream.protocol)
    return request.encode("ascii")


@implementer(IStream)
class _EndedStream:
    """A stream of no messages, which ends at once."""

    def start(self, sink: ISink) -> None:
        """See `IStream.start`."""
        self._sink = sink

    def pause(self) -> None:
        """See `IStream.pause`."""

    def resume(self) -> None:
        """See `IStream.resume`."""
        self._sink.finish()

    def close(self) -> None:
        """See `IStream.close`."""


class ContinuedRequest(DevLXDRequest):
    """A request whose client has received the head of the response already."""

    def write(self, data: bytes) -> None:
        """See `Request.write`; the head is not written."""
        if not self.startedWriting:
            self.startedWriting = 1
            self.chunked = self.clientproto == b"HTTP/1.1"
        super().write(data)

    def send(self, response: Response) -> None:
        """See `DevLXDRequest.send`: end the stream instead."""
        self._end_stream()

    def _send_stream(self, response: StreamResponse) -> None:
        response.stream.close()
        self._end_stream()

    def _end_stream(self) -> None:
        self._send_messages(MessageResponse((), (), _EndedStream()))

    def _make_websocket(self, response: MessageResponse) -> MessageWebSocket:
        websocket = super()._make_websocket(response)
        websocket.discard_handshake()
        return websocket

    def _notify(self, code: int) -> None:
        """Do nothing: the last process has notified the handler."""
