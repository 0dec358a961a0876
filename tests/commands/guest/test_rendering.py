"""Tests of `devlxd.commands.guest.rendering`."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client.values import Event, Lost
from devlxd.commands.guest.rendering import (
    event_json,
    exact_bytes,
    render_devices,
    render_event,
    render_members,
)

#: Any text that JSON can contain.
TEXTS = st.text(st.characters(exclude_categories=()))


class RenderingTests(SynchronousTestCase):
    """Answers as text and as bytes."""

    def test_config_event(self) -> None:
        """An event is a line; values with spaces, and empty ones, are in quotes."""
        event = Event(
            "config",
            "2026-11-26T14:41:11Z",
            {"key": "user.a", "old_value": "", "value": "a\nb c"},
        )
        self.assertEqual(
            render_event(event),
            '2026-11-26T14:41:11Z config key=user.a old_value="" value="a\\nb c"',
        )

    def test_device_event(self) -> None:
        """The config of a device is in the line as well."""
        event = Event(
            "device",
            "2026-11-26T14:41:11Z",
            {"action": "added", "config": {"type": "nic", "mtu": "9"}, "name": "eth0"},
        )
        self.assertEqual(
            render_event(event),
            '2026-11-26T14:41:11Z device action=added config="type nic, mtu 9" '
            "name=eth0",
        )

    def test_lost(self) -> None:
        """That events were lost is a line without more."""
        self.assertEqual(render_event(Lost(timestamp="T")), "T lost")

    @given(TEXTS, TEXTS)
    def test_no_control_characters(self, name: str, value: str) -> None:
        """Whatever a server sends, text for people has no control characters."""
        event = Event(name, value, {name: value, "other": {value: [name]}})
        devices = render_devices({name: {value: name}})
        for text in (
            render_event(event),
            *devices.splitlines(),
            *render_members({name: value}).splitlines(),
        ):
            self.assertTrue(text.isprintable(), repr(text))

    @given(TEXTS)
    def test_event_json(self, text: str) -> None:
        """An event as JSON is one line in UTF-8, and lone surrogates are kept."""
        event = Event("config", text, {"key": "k", "value": f"\\{text}"})
        line = event_json(event)
        self.assertEqual(line.index(b"\n"), len(line) - 1)
        self.assertEqual(
            json.loads(line),
            json.loads(
                json.dumps({"type": "config", "timestamp": text})[:-1]
                + f', "metadata": {json.dumps(event.metadata)}}}'
            ),
        )

    @given(st.binary())
    def test_exact_bytes(self, data: bytes) -> None:
        """What the library returns as text is the same bytes again."""
        self.assertEqual(exact_bytes(data.decode("utf-8", "surrogateescape")), data)
