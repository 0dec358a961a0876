# -*- test-case-name: tests.httpserver.test_ranges -*-
"""Parts of a body that a guest asks for: RFC 9110, 14."""

from __future__ import annotations

import re

#: How many ranges there may be; nobody has a use for more.
MAX_RANGES = 16

_UNIT = re.compile(rb"\s*bytes\s*=(.*)", re.IGNORECASE | re.DOTALL)

#: ``FIRST-LAST``, ``FIRST-`` and ``-LENGTH``; no body has as many digits.
_RANGE = re.compile(rb"(\d{0,18})-(\d{0,18})")


class UnsatisfiableError(Exception):
    """A guest asks for what lies behind the end."""


def range_of(header: bytes | None, size: int) -> tuple[int, int] | None:
    """Find which part of a body is asked for.

    Of several ranges, the one that spans them all: a guest that cannot do with
    more than it has asked for finds what it has got in ``Content-Range``.

    :param header: the value of ``Range``.
    :param size: how long the body is, in bytes.
    :return: where it begins and ends; ``None`` for all of it, also when the
        header is none, or has too many ranges.
    :raises UnsatisfiableError: when there is nothing in all the ranges.
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
    """Read one range; an empty one cannot be satisfied.

    :raises ValueError: when it is none.
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
