# -*- test-case-name: tests.client.test_json_values -*-
"""Reading JSON of a server that may be hostile."""

from __future__ import annotations

import json
import re
from typing import Any

#: The maximum number of members of all objects and lists together. Each may take 2
#: bytes of JSON, and much more than that in memory.
MAX_MEMBERS = 1_000_000

_STRING = re.compile(rb'"[^"]*"')


def parse(data: bytes) -> Any:  # noqa: ANN401 # as json.loads
    """Return the value of a JSON text in UTF-8.

    :raises ValueError: if it is none, is nested too deeply, or has too many members.
    """
    if _separators(data) > MAX_MEMBERS and _has_too_many(data):
        raise ValueError(f"more than {MAX_MEMBERS} members")
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _has_too_many(data: bytes) -> bool:
    """Return whether there are too many members, without what strings contain."""
    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A member has at most two strings: its name and its value.
    most = 2 * MAX_MEMBERS + 1
    rest, strings = _STRING.subn(b"", unescaped, most)
    return strings == most or _separators(rest) > MAX_MEMBERS


def _separators(data: bytes) -> int:
    return sum(map(data.count, (b",", b"[", b"{")))
