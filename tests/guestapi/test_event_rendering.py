"""Tests of `devlxd.guestapi.event_rendering`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from devlxd.events.diff import changes, event_of, lost_event
from devlxd.guestapi.event_rendering import json_line
from devlxd.model import Container, Event
from devlxd.timestamps import timestamp_text


def change_to(new: Container, timestamp: int) -> Event:
    """Return the only event of a new container."""
    (change,) = changes(None, new, ("user.",))
    assert change is not None
    return event_of("c1", change, timestamp)


class JSONLineTests(SynchronousTestCase):
    """Events as guests receive them."""

    def test_of_the_specification(self) -> None:
        """Events are like the published examples, with the same order of fields."""
        when = 1513898906846603815
        text = timestamp_text(when)
        device = {"type": "unix-char", "path": "/dev/kvm"}
        kvm = Container("c1", devices={"kvm": device})
        for new, expected in (
            (
                kvm,
                f'{{"timestamp":"{text}","type":"device","metadata":{{"name":"kvm",'
                '"action":"added","config":{"path":"/dev/kvm","type":"unix-char"}}}',
            ),
            (
                Container("c1", {"user.foo": "bar"}),
                f'{{"timestamp":"{text}","type":"config","metadata":'
                '{"key":"user.foo","old_value":"","value":"bar"}}',
            ),
        ):
            event = change_to(new, when)
            self.assertEqual(json_line(event).decode(), f"{expected}\n")
            self.assertEqual((event.container, event.timestamp), ("c1", when))

    def test_one_line(self) -> None:
        """An event is one line, even if a value contains the ends of lines."""
        new = Container("c1", {"user.a": "two\nlines \u2028 <&> \x00"})
        text = json_line(change_to(new, 1))
        self.assertEqual(text.find(b"\n"), len(text) - 1)
        self.assertEqual(
            json.loads(text)["metadata"]["value"], "two\nlines \u2028 <&> \x00"
        )

    def test_lost(self) -> None:
        """A ``lost`` event has the time after which no event is missing."""
        message = json.loads(json_line(lost_event("c1", 5)))
        self.assertEqual(message["type"], "lost")
        self.assertEqual(message["timestamp"], timestamp_text(5))
