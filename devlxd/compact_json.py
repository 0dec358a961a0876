# -*- test-case-name: tests.test_compact_json -*-
"""Compact JSON of nested mappings, such as the metadata of events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# The function, in C, with which `json` adds quotes and escapes to text.
_quote = encode_basestring


def compact_json(values: Mapping[str, object]) -> str:
    """Return ``values`` as a JSON object without whitespace, in their order.

    This is two to three times as fast as `json.dumps` for the metadata of config
    events, and slightly faster for that of device events: `json.dumps` needs a
    ``default`` function for `types.MappingProxyType`.

    :param values: maps text to text, to mappings like this one, or to other values
        that `json` can encode.
    """
    items = [
        f"{_quote(name)}:{_quote(value) if type(value) is str else _json_of(value)}"
        for name, value in values.items()
    ]
    return f"{{{','.join(items)}}}"


def _json_of(value: object) -> str:
    return compact_json(value) if isinstance(value, Mapping) else _encode(value)
