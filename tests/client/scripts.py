"""Servers for tests that send given bytes."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from http import HTTPStatus

from twisted.internet.protocol import Protocol


def response(body: bytes, status: int = 200) -> bytes:
    """Return a whole response."""
    reason = HTTPStatus(status).phrase
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Script(Protocol):
    """A server that sends given data after each request without a body.

    :param is_closing: whether it then closes the connection.
    :ivar data: the data.
    :ivar received: what the guest has sent.
    """

    def __init__(self, data: bytes, is_closing: bool = False) -> None:
        self.data = data
        self._is_closing = is_closing
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        self.received += data
        self.send(self.data)
        if self._is_closing:
            assert self.transport is not None
            self.transport.loseConnection()

    def send(self, data: bytes) -> None:
        """Send data."""
        assert self.transport is not None
        self.transport.write(data)


def frame(payload: bytes, opcode: int = 1, is_last: bool = True) -> bytes:
    """Return a frame of a server (RFC 6455, 5.2)."""
    length = len(payload)
    size = bytes([min(length, 127)])
    if 125 < length <= 0xFFFF:
        size = struct.pack("!BH", 126, length)
    if length > 0xFFFF:
        size = struct.pack("!BQ", 127, length)
    return bytes([opcode | (0x80 if is_last else 0)]) + size + payload


def accepting(request: bytes, headers: str = "") -> bytes:
    """Return the response that opens a websocket."""
    found = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
    assert found is not None
    digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\n{headers}"
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n"
    ).encode()


class WebSocketScript(Script):
    """A server that opens a websocket, and sends given data on it.

    :param headers: further headers, each with its line end.
    """

    def __init__(self, data: bytes = b"", headers: str = "") -> None:
        super().__init__(data)
        self._headers = headers

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        is_first = not self.received
        self.received += data
        if is_first:
            self.send(accepting(data, self._headers) + self.data)
