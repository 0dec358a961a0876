"""Bytes on a websocket: the answer is well-formed frames, and all events in order."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence

from attrs import evolve
from hypothesis import strategies as st

from tests.fuzz.mutations import mostly, mutated, pieces
from tests.fuzz.sites import CONTAINER, FuzzedSite
from tests.fuzz.target import Target

HANDSHAKE = (
    b"GET /1.0/events HTTP/1.1\r\nHost: lxd\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

#: What has a meaning in a frame.
TOKENS = [
    b"\0",
    b"\x01",
    b"\x7e",
    b"\x7f",
    b"\x80",
    b"\x81\x80",
    b"\x88\x80\0\0\0\0",
    b"\x89\xfe\0\x7e\0\0\0\0",
    b"\x8f",
    b"\xc1",
    b"\xfe\xff\xff",
    b"\xff" + b"\x7f" + b"\xff" * 7,
    b"\xff" + b"\xff" * 8,
    b"\xff\0\0\0\0\0\1\0\1",
    b"\x81\xff\0\0\0\0\0\1\0\1\0\0\0\0" + b"a" * 65_537,
    b"\xed\xa0\x80",
]


@st.composite
def valid_frames(draw: st.DrawFn) -> bytes:
    """Return up to six valid frames of a client."""
    return b"".join(draw(st.lists(_message(), max_size=6)))


@st.composite
def _message(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from([TEXT, TEXT, BINARY, PING, PONG, CLOSE]))
    if kind == CLOSE:
        code = draw(st.sampled_from([1000, 1001, 3000, 4999]))
        reason = draw(st.text(max_size=30)).encode()
        return _frame(draw, CLOSE, struct.pack("!H", code) + reason[:0])
    if kind in (PING, PONG):
        return _frame(draw, kind, draw(st.binary(max_size=125)))
    size = draw(st.sampled_from([0, 1, 125, 126, 1000, 65_535]))
    payload = b"a" * size
    cut = draw(st.integers(0, size))
    if draw(st.booleans()):
        return _frame(draw, kind, payload)
    first = _frame(draw, kind, payload[:cut], is_final=False)
    between = _frame(draw, PING, b"between")
    return first + between + _frame(draw, CONTINUATION, payload[cut:])


def _frame(
    draw: st.DrawFn, operation: int, payload: bytes, is_final: bool = True
) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes([is_final << 7 | operation, 0x80 | size])
    else:
        head = bytes([is_final << 7 | operation, 0xFE]) + struct.pack("!H", size)
    mask = draw(st.sampled_from([b"\0\0\0\0", b"\xff\x01\x80\x7f"]))
    repeated = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + mask + masked.to_bytes(size, "big")


def frames_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the operation and the payload of each frame of a server.

    :raises AssertionError: if a frame is malformed or incomplete.
    """
    while data:
        assert len(data) >= 2, data
        first, size = data[:2]
        start = 2
        assert first & 0xF0 == 0x80, f"flags of a frame: {first:x}"
        assert size < 128, "a masked frame"
        if size == 126:
            (size,) = struct.unpack("!H", data[2:4])
            start = 4
        elif size == 127:
            (size,) = struct.unpack("!Q", data[2:10])
            start = 10
        assert len(data) >= start + size, "an incomplete frame"
        operation = first & 0xF
        assert operation in (TEXT, PING, PONG, CLOSE), f"operation {operation}"
        assert operation == TEXT or size <= 125, "a long control frame"
        yield operation, data[start : start + size]
        data = data[start + size :]


def check(parts: Sequence[bytes]) -> None:
    """Check the frames that are received while parts are sent and keys change."""
    site = FuzzedSite()
    try:
        head, _, data = site.send(HANDSHAKE).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        for number, part in enumerate(parts):
            if site.client.transport is None:
                break
            config = {**CONTAINER.config, "user.n": str(number)}
            site.store.put(evolve(CONTAINER, config=config))
            data += site.send(part)
        is_closed = site.client.transport is None
        data += site.wait()
        assert site.client.transport is None, "no ping is answered, but nothing happens"
        check_frames(data, None if is_closed else len(parts))
        site.leave()
    finally:
        site.close()


def check_frames(data: bytes, events: int | None) -> None:
    """Check what a server has sent.

    :param events: how many events there were; ``None`` if they may have ended early.
    """
    operations = []
    expected = 0
    for operation, payload in frames_in(data):
        assert CLOSE not in operations, "a frame after that which closes"
        operations.append(operation)
        if operation == TEXT:
            metadata = json.loads(payload)["metadata"]
            assert metadata["key"] == "user.n", payload
            assert metadata["value"] == str(expected), payload
            expected += 1
        elif operation == CLOSE and payload:
            (code,) = struct.unpack("!H", payload[:2])
            assert code in range(1000, 1016), code
            payload[2:].decode()
    if events is not None and CLOSE not in operations:
        assert expected == events, f"{expected} events of {events}"


#: Valid and damaged frames.
TARGET = Target(
    "frames",
    pieces(mostly(mutated(valid_frames(), TOKENS), st.binary(max_size=500))),
    check,
)
