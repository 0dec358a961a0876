"""Servers of which nothing good comes, on UNIX sockets, and what each sends."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.client.scripts import accepting, frame

#: What a server sends to a request, piece by piece; ``None`` is a short pause.
Behaviour = Callable[[bytes], Iterator["bytes | None"]]

#: The length of a pause in a trickle, in seconds.
PAUSE = 0.05

#: Ten gigabytes, and a piece of them.
HUGE, PIECE = 10**10, 65536

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
IMAGE = OK + b"Content-Type: application/octet-stream\r\n"
FORM = OK + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"

#: Lists in lists, deeper than a parser can go, and more lists than memory can hold.
NESTED, WIDE = b"[" * 100_000, b"[" + b"[]," * 16_000_000 + b"1]"


def sending(*pieces: bytes, is_closing: bool = False) -> Behaviour:
    """Send some data, and then nothing, or close the connection."""

    def send(request: bytes) -> Iterator[bytes | None]:
        yield from pieces
        while not is_closing:
            yield None

    return send


def repeating(start: bytes, piece: bytes) -> Behaviour:
    """Send something, and then something else for ever."""

    def send(request: bytes) -> Iterator[bytes | None]:
        yield start
        many = piece * (PIECE // len(piece) or 1)
        while True:
            yield many

    return send


def trickling(start: bytes) -> Behaviour:
    """Send something, and then a byte now and then for ever."""

    def send(request: bytes) -> Iterator[bytes | None]:
        yield start
        while True:
            yield b"1"
            yield None

    return send


def whole(body: bytes, headers: bytes = b"") -> Behaviour:
    """Send a response, and keep the connection open."""
    length = b"Content-Length: %d\r\n" % len(body)
    return sending(OK + headers + length + b"\r\n" + body)


def websocket(behaviour: Behaviour) -> Behaviour:
    """Open a websocket first."""

    def send(request: bytes) -> Iterator[bytes | None]:
        yield accepting(request)
        yield from behaviour(request)

    return send


#: Behaviours before there is a response.
HEADS: Mapping[str, Behaviour] = {
    "nothing": sending(),
    "close": sending(is_closing=True),
    "garbage": sending(b"\0\xff\x1b[2J\r\n\r\n" * 100),
    "garbage-close": sending(b"\x1b[2J\r\n\r\n", is_closing=True),
    "half-status": sending(b"HTTP/1.", is_closing=True),
    "half-head": sending(OK + b"Content-Le", is_closing=True),
    "endless-status": repeating(b"HTTP/1.1 200 ", b"x"),
    "endless-header": repeating(OK + b"A: ", b"x"),
    "endless-headers": repeating(OK, b"A: b\r\n"),
    "endless-interim": repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trickle-head": trickling(OK + b"A: "),
    "redirect": sending(
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    ),
    "gzip": whole(gzip.compress(bytes(30_000_000)), b"Content-Encoding: gzip\r\n"),
    "escapes": sending(
        b"HTTP/1.1 403 No\r\nContent-Length: 12\r\n\r\n\x1b[2J\x9b1m\r\n\0\x07!"
    ),
}

#: Behaviours within the body of the response to a question.
BODIES: Mapping[str, Behaviour] = {
    "half-body": sending(OK + b"Content-Length: 9\r\n\r\n[", is_closing=True),
    "half-chunk": sending(CHUNKED + b"9\r\n[", is_closing=True),
    "endless-chunk-size": repeating(CHUNKED, b"0"),
    "endless-chunk-extension": repeating(CHUNKED + b"1;", b"x"),
    "trickle-body": trickling(OK + b"Content-Length: 9999\r\n\r\n"),
    "small-chunks": repeating(CHUNKED, b"1\r\n[\r\n"),
    "trickle-chunks": trickling(CHUNKED + b"270f\r\n"),
    "promise": repeating(OK + b"Content-Length: %d\r\n\r\n" % HUGE, b"["),
}

#: Behaviours of which a question on JSON makes nothing.
VALUES: Mapping[str, Behaviour] = {
    "nested": whole(NESTED),
    "not-utf-8": whole(b'"\xff\xfe"'),
}

#: As much data as a question may read.
FLOODS: Mapping[str, Behaviour] = {
    "flood-chunks": repeating(CHUNKED, b"8000\r\n" + b"[" * 0x8000 + b"\r\n"),
    "flood-body": repeating(OK + b"\r\n", b"["),
    "wide": whole(WIDE),
}

#: Behaviours within a stream of lines.
LINES: Mapping[str, Behaviour] = {
    "line-garbage": sending(OK + b"\r\n\x1b[2J\n"),
    "line-nested": sending(OK + b"\r\n" + NESTED + b"\n"),
    "line-half": sending(CHUNKED + b"9\r\n{}\r\n", b"zz\r\n"),
    "line-chunk-size": repeating(CHUNKED, b"0"),
}
ENDLESS_LINES: Mapping[str, Behaviour] = {
    "line-endless": repeating(OK + b"\r\n", b"x"),
    "line-promise": repeating(OK + b"Content-Length: %d\r\n\r\n" % HUGE, b"x"),
}

#: Behaviours on a websocket.
FRAMES: Mapping[str, Behaviour] = {
    "frame-key": sending(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n"
    ),
    "frame-garbage": websocket(sending(b"\xff" * 100)),
    "frame-text": websocket(sending(frame(b"\x1b[2J"))),
    "frame-nested": websocket(sending(frame(NESTED))),
    "frame-huge": websocket(
        repeating(b"\x81\x7f" + struct.pack("!Q", 2**63 - 1), b"x")
    ),
    "frame-negative": websocket(repeating(b"\x81\x7f" + b"\xff" * 8, b"x")),
}
ENDLESS_FRAMES: Mapping[str, Behaviour] = {
    "frame-fragments": websocket(
        repeating(frame(b"x", is_last=False), frame(b"x", 0, is_last=False))
    ),
    "frame-empty": websocket(
        repeating(frame(b"", is_last=False), frame(b"", 0, is_last=False))
    ),
    "frame-endless": websocket(repeating(b"", frame(b"x" * PIECE, 0, is_last=False))),
    "frame-wide": websocket(sending(frame(WIDE))),
}

#: Behaviours within the body of an image.
IMAGES: Mapping[str, Behaviour] = {
    "image-half": sending(IMAGE + b"Content-Length: 99\r\n\r\nimage", is_closing=True),
    "image-half-part": sending(
        FORM + b'Content-Disposition: form-data; name="metadata"\r\n\r\nimage',
        is_closing=True,
    ),
    "image-other": whole(b"image", b"Content-Type: application/octet-stream\r\n"),
    "image-head": repeating(FORM + b"A: ", b"x"),
    "image-garbage": sending(FORM + b"\xff\r\n\r\n"),
    "image-chunk-size": repeating(IMAGE + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
}
ENDLESS_IMAGES: Mapping[str, Behaviour] = {
    "image-promise": repeating(IMAGE + b"Content-Length: %d\r\n\r\n" % HUGE, b"x"),
    "image-endless": repeating(IMAGE + b"\r\n", b"x"),
}

#: Text for a terminal, in a response that is as it should be.
ESCAPES: Mapping[str, Behaviour] = {
    "escaped-config": whole(
        b'{"user.\\u001b[2J": "\\u009b1m\\u0007\\r", "auth": "\\u001b[2J"}'
    ),
    "escaped-devices": whole(
        b'{"\\u001b[2J": {"type": "\\u009b1m", "\\u0007": "\\r"}}'
    ),
    "raw-value": whole(b"\x1b[2J\xff\r\0"),
}

#: All behaviours. One more is ``full``: a server that accepts no connection.
BEHAVIOURS: Mapping[str, Behaviour] = {
    **HEADS,
    **BODIES,
    **VALUES,
    **FLOODS,
    **LINES,
    **ENDLESS_LINES,
    **FRAMES,
    **ENDLESS_FRAMES,
    **IMAGES,
    **ENDLESS_IMAGES,
    **ESCAPES,
}

FULL = "full"


class HostileServers:
    """One server for each behaviour, at the socket of its name in a directory."""

    def __init__(self, directory: Path) -> None:
        self._is_closed = False
        self._open = []
        for name, behaviour in BEHAVIOURS.items():
            listener = self._listener(directory / name, 128)
            threading.Thread(
                target=self._serve, args=(listener, behaviour), daemon=True
            ).start()
        self._listener(directory / FULL, 0)
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(str(directory / FULL))
        self._open.append(waiting)

    def close(self) -> None:
        """End all servers."""
        self._is_closed = True
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _listener(self, path: Path, backlog: int) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(backlog)
        self._open.append(listener)
        return listener

    def _serve(self, listener: socket.socket, behaviour: Behaviour) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(
                    target=self._answer, args=(connection, behaviour), daemon=True
                ).start()

    def _answer(self, connection: socket.socket, behaviour: Behaviour) -> None:
        """Answer each request on a connection, until the other end closes it."""
        with contextlib.suppress(OSError), connection:
            request = _request(connection)
            for piece in behaviour(request):
                if self._is_closed:
                    return
                if piece is not None:
                    connection.sendall(piece)
                elif _is_closed_within(connection, PAUSE):
                    return
            connection.shutdown(socket.SHUT_WR)


def _request(connection: socket.socket) -> bytes:
    """Return a request.

    Its body is read too: the kernel resets a connection that is closed with unread
    data, and the client may not receive what was sent before.
    """
    received = b""
    while not _is_whole(received):
        data = connection.recv(PIECE)
        if not data:
            raise ConnectionResetError
        received += data
    return received


def _is_whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and len(body) >= int(length[1] if length else 0)


def _is_closed_within(connection: socket.socket, seconds: float) -> bool:
    """Wait; return whether the other end has closed the connection."""
    end = time.monotonic() + seconds
    connection.settimeout(seconds)
    try:
        while connection.recv(PIECE):
            connection.settimeout(max(end - time.monotonic(), 0.001))
    except TimeoutError:
        return False
    finally:
        connection.settimeout(None)
    return True
