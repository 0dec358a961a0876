# -*- test-case-name: tests.guestapi.test_object_responses -*-
"""JSON objects of many items, rendered in slices."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TypeVar

from twisted.web import http

from devlxd.compact_json import compact_json
from devlxd.guestapi.snapshot_responses import JSON
from devlxd.httpserver.responses import Response
from devlxd.turns import Slices

T = TypeVar("T")

#: How many items are filtered and sorted in one slice.
_SLICE_LENGTH = 1000

#: About how much text is rendered in one slice, in characters.
_SLICE_SIZE = 16 * 1024


def object_response(
    items: Mapping[str, T],
    is_shown: Callable[[str, T], bool],
    value_of: Callable[[str, T], object],
) -> Slices[Response]:
    """Render a JSON object, sorted by the names of its items, in slices.

    :param items: the items by their names.
    :param is_shown: returns whether an item is in the object.
    :param value_of: returns the value of an item: text, or a mapping of text to text.
    """
    rest = iter(items.items())
    parts: list[list[str]] = []
    while some := list(islice(rest, _SLICE_LENGTH)):
        parts.append(sorted(name for name, item in some if is_shown(name, item)))
        if len(some) == _SLICE_LENGTH:
            yield
    texts: list[bytes] = []
    size = 0
    for name in heapq.merge(*parts):
        text = compact_json({name: value_of(name, items[name])})[1:-1].encode()
        texts += (b"," if texts else b"{", text)
        size += len(text)
        if size > _SLICE_SIZE:
            size = 0
            yield
    texts.append(b"}\n" if texts else b"{}\n")
    return Response(http.OK, JSON, b"".join(texts))
