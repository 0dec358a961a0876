# -*- test-case-name: tests.httpserver.test_framing -*-
"""How messages are framed: as chunks of a body, or as frames of a websocket.

A server's frames have no masks (RFC 6455, 5.1), and chunks no extensions: what one
client receives for a message is the same for all. Each short message is framed once.
"""

from __future__ import annotations

import struct

#: How much of a message is written at a time, in bytes. No more than this is buffered
#: for a client that does not read.
SLICE = 16 * 1024

#: The bit of the first byte of a frame that marks the last one of a message, and the
#: opcodes of a message's frames (RFC 6455, 5.2).
FIN = 0x80
CONTINUATION = 0
TEXT = 1

#: A ping without a payload (RFC 6455, 5.5.2).
PING_FRAME = b"\x89\x00"

#: The end of a chunked body (RFC 9112, 7.1).
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return data as one chunk of a body (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def frame(first: int, payload: bytes) -> bytes:
    """Return a frame of a server (RFC 6455, 5.2).

    :param first: the first byte of the frame.
    """
    length = len(payload)
    if length < 126:
        return b"%c%c%b" % (first, length, payload)
    if length < 2**16:
        return struct.pack("!BBH", first, 126, length) + payload
    return struct.pack("!BBQ", first, 127, length) + payload


# Each sink has one of these three functions. They return nothing for a message that is
# sent in slices, as the client may stop reading between them.


def whole_line(message: bytes) -> bytes:
    """Return what a client of HTTP/1.0 receives for a short message."""
    return message if len(message) <= SLICE else b""


def whole_chunk(message: bytes) -> bytes:
    """Return what a client of HTTP/1.1 receives for a short message."""
    return chunk(message) if 0 < len(message) <= SLICE else b""


def whole_frame(message: bytes) -> bytes:
    """Return what a websocket receives for a short message."""
    return frame(TEXT | FIN, message) if 0 < len(message) <= SLICE else b""
