"""Tests of `devlxd.httpserver.ranges`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.httpserver.ranges import MAX_RANGES, UnsatisfiableError, range_of


class RangeTests(SynchronousTestCase):
    """The range that a ``Range`` header selects, of a body of 100 bytes."""

    def test_one(self) -> None:
        """A single range is returned, up to the end of the body."""
        for header, expected in (
            (b"bytes=0-0", (0, 1)),
            (b"bytes=0-99", (0, 100)),
            (b"bytes=10-19", (10, 20)),
            (b"bytes=10-", (10, 100)),
            (b"bytes=99-", (99, 100)),
            (b"bytes=90-1000", (90, 100)),
            (b"bytes=90-" + b"9" * 18, (90, 100)),
            (b"bytes=-1", (99, 100)),
            (b"bytes=-100", (0, 100)),
            (b"bytes=-1000", (0, 100)),
            (b" Bytes = 1-2", (1, 3)),
        ):
            self.assertEqual(range_of(header, 100), expected, header)

    def test_several(self) -> None:
        """Several ranges become the one that contains them all."""
        for header, expected in (
            (b"bytes=0-1,5-6", (0, 7)),
            (b"bytes=50-, 10-19", (10, 100)),
            (b"bytes=,-1 ,\t3-3,", (3, 100)),
            (b"bytes=0-1,200-", (0, 2)),
            (b"bytes=" + b",".join([b"7-7"] * MAX_RANGES), (7, 8)),
        ):
            self.assertEqual(range_of(header, 100), expected, header)

    def test_malformed(self) -> None:
        """A malformed header is ignored (RFC 9110, section 14.2)."""
        for header in (
            None,
            b"",
            b"bytes",
            b"bytes=",
            b"bytes=,",
            b"bytes=-",
            b"bytes=x-y",
            b"bytes=5-4",
            b"bytes=0-1,5-4",
            b"bytes=--1",
            b"bytes=0x0-1",
            b"bytes=+1-2",
            b"bytes=1 - 2",
            b"bytes=0-" + b"9" * 19,
            b"bytes=" + b"\xd9\xa1-\xd9\xa2",
            b"items=0-1",
            b"bytes=" + b",".join([b"7-7"] * (MAX_RANGES + 1)),
            b"bytes 0-1/100",
        ):
            self.assertIsNone(range_of(header, 100), header)

    def test_past_the_end(self) -> None:
        """A range past the end is an error."""
        for header in (b"bytes=100-", b"bytes=100-200", b"bytes=-0", b"bytes=1000-,-0"):
            self.assertRaises(UnsatisfiableError, range_of, header, 100)

    @given(st.binary(max_size=30).map(b"bytes=".__add__), st.integers(1, 200))
    def test_any(self, header: bytes, size: int) -> None:
        """The range for any header is inside the body."""
        try:
            found = range_of(header, size)
        except UnsatisfiableError:
            return
        if found is not None:
            start, end = found
            self.assertTrue(0 <= start < end <= size)

    @given(
        st.lists(
            st.tuples(st.integers(0, 99), st.integers(0, 99)),
            min_size=1,
            max_size=MAX_RANGES,
        ),
    )
    def test_span(self, ranges: list[tuple[int, int]]) -> None:
        """The range contains all the bytes of all requested ranges."""
        pairs = [(min(pair), max(pair)) for pair in ranges]
        header = "bytes=" + ",".join(f"{first}-{last}" for first, last in pairs)
        found = range_of(header.encode(), 100)
        assert found is not None
        for first, last in pairs:
            self.assertTrue(found[0] <= first <= last < found[1])
