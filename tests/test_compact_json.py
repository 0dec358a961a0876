"""Tests of `devlxd.compact_json`."""

from __future__ import annotations

import json
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.compact_json import compact_json

SCALARS = st.text() | st.integers() | st.booleans() | st.none()

VALUES = st.dictionaries(
    st.text(),
    SCALARS | st.dictionaries(st.text(), SCALARS) | st.lists(SCALARS),
)


class CompactJSONTests(SynchronousTestCase):
    """Writing mappings as JSON."""

    @given(VALUES)
    def test_as_json(self, values: dict[str, object]) -> None:
        """The output is that of `json.dumps` without whitespace."""
        expected = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        self.assertEqual(compact_json(values), expected)

    def test_read_only(self) -> None:
        """Read-only mappings, which `json` cannot encode, are written."""
        values = MappingProxyType({"config": MappingProxyType({"type": "nic"})})
        self.assertEqual(compact_json(values), '{"config":{"type":"nic"}}')
