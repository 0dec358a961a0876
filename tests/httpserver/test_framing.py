"""Tests of `devlxd.httpserver.framing`: chunks, and frames of websockets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.httpserver.framing import (
    CONTINUATION,
    FIN,
    LAST_CHUNK,
    PING_FRAME,
    SLICE,
    TEXT,
    chunk,
    frame,
    whole_chunk,
    whole_frame,
    whole_line,
)
from tests.guestapi.test_event_streams import PING, chunks, frames


class FramingTests(SynchronousTestCase):
    """What clients receive for data."""

    @given(st.lists(st.binary(min_size=1, max_size=300)))
    def test_chunks(self, pieces: list[bytes]) -> None:
        """A client reads from chunks what was written."""
        body = b"".join(map(chunk, pieces)) + LAST_CHUNK
        self.assertEqual(chunks(body), [*pieces, b""])

    def test_frames(self) -> None:
        """A client reads the payload of a frame of any length."""
        for length in (0, 1, 125, 126, 127, 2**16 - 1, 2**16, 2**17):
            payload = bytes(length)
            self.assertEqual(frames(frame(TEXT | FIN, payload)), [(TEXT, payload)])

    def test_first_byte(self) -> None:
        """The first byte has the opcode, and whether the message ends."""
        self.assertEqual(frame(TEXT, b"a"), b"\x01\x01a")
        self.assertEqual(frame(CONTINUATION | FIN, b"b"), b"\x80\x01b")
        self.assertEqual(frames(PING_FRAME), [(PING, b"")])

    def test_whole(self) -> None:
        """Only short messages are framed as a whole; an empty one is no message."""
        for whole in (whole_line, whole_chunk, whole_frame):
            self.assertEqual(whole(b""), b"")
            self.assertEqual(whole(bytes(SLICE + 1)), b"")
            self.assertIn(bytes(SLICE), whole(bytes(SLICE)))
