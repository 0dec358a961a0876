"""Tests of JSON that is rendered in slices."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.guestapi.long_responses import object_response
from devlxd.turns import Slices, finish

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


class ObjectResponseTests(SynchronousTestCase):
    """`object_response`."""

    @given(st.dictionaries(TEXT, TEXT))
    def test_any_text(self, items: dict[str, str]) -> None:
        """The body is one sorted JSON object and a newline, whatever the text is."""
        body = finish(object_response(items, lambda *_: True, lambda _, v: v)).body
        parsed = json.loads(body)
        self.assertEqual(list(parsed.items()), sorted(items.items()))
        self.assertTrue(body.endswith(b"}\n"))

    def test_shown(self) -> None:
        """Only the shown items are in the object, with the values that are returned."""
        response = finish(
            object_response({"a": 1, "b": 2}, lambda _, v: v > 1, lambda k, _: {k: k})
        )
        self.assertEqual(response.body, b'{"b":{"b":"b"}}\n')
        self.assertEqual(response.headers, ((b"Content-Type", b"application/json"),))

    def slices_of(self, items: dict[str, str]) -> int:
        """Return how many pauses rendering takes."""

        def counted(slices: Slices[object]) -> int:
            return sum(1 for _ in slices)

        return counted(object_response(items, lambda *_: True, lambda _, v: v))

    def test_slices(self) -> None:
        """Many items, and long ones, are rendered in slices."""
        self.assertEqual(self.slices_of({"a": "b"}), 0)
        self.assertGreater(self.slices_of({str(n): "" for n in range(100_000)}), 100)
        self.assertGreater(self.slices_of({str(n): "x" * 50_000 for n in range(9)}), 3)
