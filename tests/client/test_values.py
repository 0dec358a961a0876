"""Tests of `devlxd.client.values`, and of what ``devlxd.client`` exports."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

import devlxd.client
from devlxd.client import Event, GuestError, Lost


class EventTests(SynchronousTestCase):
    """Events."""

    def test_to_json(self) -> None:
        """An event is one line of JSON, whatever its values contain."""
        event = Event("config", "t", {"key": "user.a", "value": "é\n\u2028"})
        text = event.to_json()
        self.assertNotIn("\n", text)
        members = {"type": "config", "timestamp": "t", "metadata": event.metadata}
        self.assertEqual(json.loads(text), members)

    def test_lost(self) -> None:
        """`Lost` is an event of its own type."""
        self.assertEqual(Lost(timestamp="t"), Lost("lost", "t", {}))
        self.assertIsInstance(Lost(), Event)


class ExportTests(SynchronousTestCase):
    """The names of ``devlxd.client``."""

    def test_names(self) -> None:
        """Each name can be imported; one that does not exist is an error."""
        for name in devlxd.client.__all__:
            self.assertTrue(getattr(devlxd.client, name).__doc__, name)
        with self.assertRaises(AttributeError):
            devlxd.client.Missing  # noqa: B018

    def test_exceptions(self) -> None:
        """One ``except`` catches all exceptions of the library."""
        values = [getattr(devlxd.client, name) for name in devlxd.client.__all__]
        errors = [v for v in values if isinstance(v, type) and issubclass(v, Exception)]
        self.assertEqual(len(errors), 7)
        for error in errors:
            self.assertTrue(issubclass(error, GuestError))
