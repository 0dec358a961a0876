# -*- test-case-name: tests.guestapi.test_long_responses -*-
"""Lists and objects of many items as JSON, sorted by name, rendered in slices."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from itertools import islice
from json.encoder import encode_basestring
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

#: What is added to the length of the text of each item, in characters: rendering a
#: short item takes some time, too.
_ITEM_COST = 32


def list_response(
    root: str, items: Mapping[str, T], is_listed: Callable[[str, T], bool]
) -> Slices[Response]:
    """Render a list of the paths of items, in slices.

    :param root: what each path begins with; the item's name follows.
    :param items: the items by their names.
    :param is_listed: returns whether an item is in the list.
    """

    def text_of(name: str) -> str:
        return encode_basestring(root + name)

    return _response("[]", items, is_listed, text_of)


def object_response(
    items: Mapping[str, T],
    is_shown: Callable[[str, T], bool],
    value_of: Callable[[str, T], object],
) -> Slices[Response]:
    """Render an object with a value for each item, in slices.

    :param items: the items by their names.
    :param is_shown: returns whether an item is in the object.
    :param value_of: returns the value of an item: text, or a mapping of text to text.
    """

    def text_of(name: str) -> str:
        return compact_json({name: value_of(name, items[name])})[1:-1]

    return _response("{}", items, is_shown, text_of)


def _response(
    brackets: str,
    items: Mapping[str, T],
    is_shown: Callable[[str, T], bool],
    text_of: Callable[[str], str],
) -> Slices[Response]:
    """Render those items that are shown, in slices.

    :param text_of: returns the JSON of an item.
    """
    parts = yield from _sorted_parts(items, is_shown)
    pieces: list[bytes] = []
    texts: list[str] = []
    size = 0
    for name in heapq.merge(*parts):
        text = text_of(name)
        texts.append(text)
        size += len(text) + _ITEM_COST
        if size > _SLICE_SIZE:
            pieces.append(",".join(texts).encode("utf-8"))
            texts.clear()
            size = 0
            yield
    if texts:
        pieces.append(",".join(texts).encode("utf-8"))
    # Freeing all parts in one slice would take too long.
    while len(parts) > 1:
        parts.pop()
        yield
    begin, end = brackets.encode("ascii")[:1], brackets.encode("ascii")[1:]
    return Response(http.OK, JSON, begin + b",".join(pieces) + end + b"\n")


def _sorted_parts(
    items: Mapping[str, T], is_shown: Callable[[str, T], bool]
) -> Slices[list[list[str]]]:
    """Return the names of the shown items in parts, each of which is sorted."""
    rest = iter(items.items())
    parts: list[list[str]] = []
    while some := list(islice(rest, _SLICE_LENGTH)):
        parts.append(sorted(name for name, item in some if is_shown(name, item)))
        if len(some) == _SLICE_LENGTH:
            yield
    return parts
