# -*- test-case-name: tests.documents.test_nodes -*-
"""Reading the nodes of a JSON document."""

from __future__ import annotations

import json
import re

from devlxd.documents.nodes import Kind, Node

_SPACE = re.compile(r"[ \t\n\r]*")

#: Numbers, true, false and null stay as they were written.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def read_json_nodes(text: str) -> Node:
    """Return the root of a JSON document.

    :param text: a document that is valid.
    """
    return _read(text, _skip_space(text, 0))


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()


def _read(text: str, start: int) -> Node:
    if text[start] == "{":
        return _read_mapping(text, start)
    if text[start] == "[":
        return _read_sequence(text, start)
    value, end = _DECODER.raw_decode(text, start)
    if text[start] == '"':
        return Node(Kind.DOUBLE, start, end, value)
    return Node(Kind.PLAIN, start, end, text[start:end])


def _read_mapping(text: str, start: int) -> Node:
    node = Node(Kind.FLOW_MAPPING, start, start)
    position = _skip_space(text, start + 1)
    while text[position] != "}":
        key = _read(text, position)
        # What follows the colon.
        position = _skip_space(text, _skip_space(text, key.end) + 1)
        value = _read(text, position)
        node.entries.append((key, value))
        position = _after_comma(text, value.end)
    node.end = position + 1
    return node


def _read_sequence(text: str, start: int) -> Node:
    node = Node(Kind.SEQUENCE, start, start)
    position = _skip_space(text, start + 1)
    while text[position] != "]":
        node.items.append(_read(text, position))
        position = _after_comma(text, node.items[-1].end)
    node.end = position + 1
    return node


def _after_comma(text: str, position: int) -> int:
    """Return where the next item or the closing bracket is."""
    position = _skip_space(text, position)
    return _skip_space(text, position + 1) if text[position] == "," else position
