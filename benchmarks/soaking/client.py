"""An HTTP/1.1 and websocket client that accepts nothing malformed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Mapping

from attrs import frozen

#: The timeout of everything that devlxd has to do at once, in seconds. It is long, as
#: the machine may be busy.
PATIENCE = 60.0

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) [\x20-\x7e]*\r\n")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\xff]*?)[ \t]*\r\n")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class MalformedError(OSError):
    """Raised when devlxd sends something that is not HTTP or a websocket frame."""


@frozen
class Response:
    """A response.

    :ivar headers: the values by lower-case names.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        """Return a short description."""
        return f"{self.status} {self.body[:200]!r}"


class Client:
    """A connection of a guest.

    :ivar reader: what devlxd sends.
    :ivar to_close: descriptors to close with the connection.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.to_close: list[int] = []
        self._writer = writer

    @classmethod
    async def on(cls, connection: socket.socket, limit: int = 65536) -> Client:
        """Return a client on a connection.

        :param limit: how many bytes are received before they are asked for, about.
        """
        return cls(*await asyncio.open_unix_connection(sock=connection, limit=limit))

    async def __aenter__(self) -> Client:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; unsent bytes are dropped."""
        self._writer.transport.abort()
        while self.to_close:
            os.close(self.to_close.pop())

    async def send(self, data: bytes) -> None:
        """Send data; wait while devlxd does not receive it."""
        self._writer.write(data)
        await asyncio.wait_for(self._writer.drain(), PATIENCE)

    def end(self) -> None:
        """Send the end of the data."""
        self._writer.write_eof()

    async def ask(
        self, path: str, method: str = "GET", headers: str = "", body: bytes = b""
    ) -> Response:
        """Send a request, and return the response."""
        await self.send(request(path, method, headers, body))
        return await self.response(method)

    async def response(self, method: str = "GET") -> Response:
        """Return the next response.

        :param method: the method of its request.
        :raises MalformedError: if it is not well-formed.
        :raises EOFError: if the connection ends before the end of the response.
        """
        return await asyncio.wait_for(self._response(method), PATIENCE)

    async def _response(self, method: str) -> Response:
        status, headers = await self.head()
        pieces = [piece async for piece in self.body(method, status, headers)]
        return Response(status, headers, b"".join(pieces))

    async def head(self) -> tuple[int, Mapping[str, str]]:
        """Return the status and the headers of the next response."""
        line = await self._line()
        match = _STATUS_LINE.fullmatch(line)
        if not match:
            raise MalformedError(f"not a status line: {line[:100]!r}")
        headers: dict[str, str] = {}
        while (line := await self._line()) != b"\r\n":
            header = _HEADER.fullmatch(line)
            if not header:
                raise MalformedError(f"not a header: {line[:100]!r}")
            name = header[1].decode().lower()
            if name in headers:
                raise MalformedError(f"two headers {name}")
            headers[name] = header[2].decode("latin-1")
        return int(match[1]), headers

    async def body(
        self, method: str, status: int, headers: Mapping[str, str]
    ) -> AsyncIterator[bytes]:
        """Yield the pieces of the body after a head."""
        if method == "HEAD" or status < 200 or status in (204, 304):
            return
        if headers.get("transfer-encoding") == "chunked":
            async for piece in self._chunks():
                yield piece
        elif "content-length" in headers:
            left = int(headers["content-length"])
            while left:
                piece = await self.reader.read(min(left, 65536))
                if not piece:
                    raise EOFError(f"{left} bytes of the body are missing")
                left -= len(piece)
                yield piece
        else:
            while piece := await self.reader.read(65536):
                yield piece

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            size = _CHUNK_SIZE.fullmatch(line := await self._line())
            if not size:
                raise MalformedError(f"not the size of a chunk: {line[:100]!r}")
            left = int(size[1], 16)
            is_last = not left
            while left:
                piece = await self.reader.read(min(left, 65536))
                if not piece:
                    raise EOFError("in a chunk")
                left -= len(piece)
                yield piece
            if await self.reader.readexactly(2) != b"\r\n":
                raise MalformedError("no line end after a chunk")
            if is_last:
                return

    async def _line(self) -> bytes:
        try:
            return await self.reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            raise MalformedError(str(error)) from None

    async def upgrade(self, path: str) -> Mapping[str, str]:
        """Upgrade the connection to a websocket; return the headers.

        :raises MalformedError: if devlxd refuses or makes a mistake.
        """
        key = base64.b64encode(os.urandom(16))
        await self.send(
            request(
                path,
                headers="Upgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n",
            )
        )
        status, headers = await asyncio.wait_for(self.head(), PATIENCE)
        if status != 101:
            body = [piece async for piece in self.body("GET", status, headers)]
            raise MalformedError(f"no websocket: {status} {b''.join(body)[:200]!r}")
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        if headers.get("sec-websocket-accept") != accept:
            raise MalformedError("a wrong Sec-WebSocket-Accept")
        return headers

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield the messages of the websocket, until devlxd closes it.

        Pings are answered.
        """
        message = b""
        while True:
            first, second = await self.reader.readexactly(2)
            if first & 0x70 or second & 0x80:
                raise MalformedError(f"a frame that starts with {first:x} {second:x}")
            size = second
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            payload = await self.reader.readexactly(size)
            operation = first & 0xF
            if operation == 9:
                self._writer.write(frame(10, payload))
            elif operation == 8:
                self._writer.write(frame(8, payload))
                return
            elif operation in (0, 1, 2):
                message += payload
                if first & 0x80:
                    yield message
                    message = b""


def request(
    path: str, method: str = "GET", headers: str = "", body: bytes = b""
) -> bytes:
    """Return a request.

    :param headers: further headers, each with its line end.
    """
    if body:
        headers += f"Content-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: lxd\r\n{headers}\r\n".encode() + body


def frame(operation: int, payload: bytes, final: bool = True) -> bytes:
    """Return a masked frame of a websocket."""
    mask = os.urandom(4)
    size = len(payload)
    head = bytes([final << 7 | operation])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", size)
    repeated = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + masked.to_bytes(size, "big")
