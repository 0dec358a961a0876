"""Tests of `devlxd.model.Event`."""

from __future__ import annotations

import json
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.model import Event

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'))

METADATA = st.dictionaries(TEXT, TEXT | st.dictionaries(TEXT, TEXT))


class EventTests(SynchronousTestCase):
    """Tests of `Event`."""

    def test_read_only(self) -> None:
        """The metadata cannot be changed, and large values are not copied."""
        value = "x" * 10_000
        given_metadata = MappingProxyType({"value": value})
        event = Event("c1", "config", 1, given_metadata)
        self.assertIs(event.metadata, given_metadata)
        event = Event("c1", "config", 1, {"value": value})
        self.assertIs(event.metadata["value"], value)
        self.assertIsInstance(event.metadata, MappingProxyType)

    @given(METADATA)
    def test_size(self, metadata: dict[str, object]) -> None:
        """The size of an event is that of its metadata as compact JSON."""
        text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
        event = Event("c1", "config", 1, metadata)
        self.assertEqual(event.size, len(text.encode()))

    def test_not_unicode(self) -> None:
        """An event cannot have metadata that UTF-8 cannot encode."""
        for metadata in ({"value": "\ud800"}, {"config": {"\udfff": ""}}):
            self.assertRaises(UnicodeEncodeError, Event, "c1", "config", 1, metadata)

    def test_rendered_once(self) -> None:
        """Each function renders an event once, and its result is reused."""
        event = Event("c1", "config", 1, {"value": "x"})
        calls: list[Event] = []

        def render(event: Event) -> bytes:
            calls.append(event)
            return b"%d" % len(calls)

        def render_differently(event: Event) -> bytes:
            return b"-" + render(event)

        for _ in range(2):
            self.assertEqual(event.rendered(render), b"1")
            self.assertEqual(event.rendered(render_differently), b"-2")
        self.assertEqual(calls, [event, event])

    def test_equal(self) -> None:
        """Events with equal values are equal, even if only one has been rendered."""
        one, other = (Event("c1", "config", 1, {"value": "x"}) for _ in "12")
        one.rendered(lambda event: b"")
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        self.assertNotEqual(one, Event("c1", "config", 1, {"value": "y"}))
