# -*- test-case-name: tests.httpserver.test_ranges -*-
"""Range requests (RFC 9110, 14)."""

from __future__ import annotations

import re

#: The maximum number of ranges in a request.
MAX_RANGES = 16

_UNIT = re.compile(rb"\s*bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)

#: ``FIRST-LAST``, ``FIRST-`` or ``-LENGTH``; 18 digits are enough for any body.
_RANGE = re.compile(rb"(\d{0,18})-(\d{0,18})")


class UnsatisfiableError(Exception):
    """Raised when no byte of the body is in the requested ranges."""


def range_of(header: bytes | None, size: int) -> tuple[int, int] | None:
    """Return the part of a body that a ``Range`` header requests.

    For several ranges, this is the shortest range that contains all of them, except
    those outside of the body. The client finds it in ``Content-Range``.

    :param header: the value of ``Range``; ``None`` if it was not sent.
    :param size: the length of the body, in bytes.
    :return: the offset of the first byte, and the offset after the last byte;
        ``None`` for the whole body, also if the header was not sent, is not valid, or
        has too many ranges.
    :raises UnsatisfiableError: if no byte of the body is in the ranges.
    """
    match = _UNIT.fullmatch(header or b"")
    if match is None:
        return None
    pieces = [piece.strip(b" \t") for piece in match[1].split(b",", MAX_RANGES)]
    if len(pieces) > MAX_RANGES:
        return None
    try:
        ranges = [_range(piece, size) for piece in pieces if piece]
    except ValueError:
        return None
    if not ranges:
        return None
    found = [(start, end) for start, end in ranges if start < end]
    if not found:
        raise UnsatisfiableError
    return min(start for start, _ in found), max(end for _, end in found)


def _range(text: bytes, size: int) -> tuple[int, int]:
    """Parse one range; the result is empty if the range is outside of the body.

    :return: the offset of the first byte, and the offset after the last byte.
    :raises ValueError: if ``text`` is not a valid range.
    """
    match = _RANGE.fullmatch(text)
    if match is None or text == b"-":
        raise ValueError(f"not a range: {text!r}")
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0), size
    if not last:
        return int(first), size
    if int(last) < int(first):
        raise ValueError(f"ends before it begins: {text!r}")
    return int(first), min(int(last) + 1, size)
