"""Tests of `devlxd.client.json_values`."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import json_values
from devlxd.client.json_values import parse

_SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=20)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=30,
)


def members(value: object) -> int:
    """Return how many members a value has, with those of its members."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return 0
    return len(value) + sum(map(members, value))


class ParseTests(SynchronousTestCase):
    """JSON of a server."""

    @given(_VALUES)
    def test_values(self, value: object) -> None:
        """Each value is read."""
        self.assertEqual(parse(json.dumps(value).encode()), value)

    @given(_VALUES)
    def test_members(self, value: object) -> None:
        """What strings contain does not count as members; nothing else is forgotten."""
        self.patch(json_values, "MAX_MEMBERS", 5)
        data = json.dumps(value, ensure_ascii=False).encode()
        if members(value) > 5:
            self.assertRaises(ValueError, parse, data)
        if members(value) + data.count(b"[") + data.count(b"{") <= 5:
            self.assertEqual(parse(data), value)

    def test_text(self) -> None:
        """A long text may contain as many separators as it likes."""
        self.patch(json_values, "MAX_MEMBERS", 20)
        value = {"user.a": '[,{"\\' * 100, "user.b": "\\"}
        self.assertEqual(parse(json.dumps(value).encode()), value)

    def test_no_json(self) -> None:
        """What is no JSON in UTF-8 is a `ValueError`, as what is nested too deeply."""
        for data in (b"", b"{", b'"\xff"', '"a"'.encode("utf-16"), b"[" * 100_000):
            self.assertRaises(ValueError, parse, data)
