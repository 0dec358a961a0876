"""Tests of `devlxd.source_states`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.model import SourceState
from devlxd.source_states import source_state, source_text


class SourceTests(SynchronousTestCase):
    """What operators read of a remote source."""

    def test_text(self) -> None:
        """One line, whatever is known."""
        for state, text in (
            (SourceState("etcd:/h1/", True, 3.2), "answers, what is served is 3 s old"),
            (
                SourceState("etcd:/h1/", False, 90, "no luck"),
                "does not answer (no luck), what is served is 1 min 30 s old",
            ),
            (
                SourceState("etcd:/h1/", False, None, "no luck"),
                "does not answer (no luck), nothing is known of it",
            ),
            (
                SourceState("etcd:/h1/", False, None),
                "is being asked, nothing is known of it",
            ),
        ):
            self.assertEqual(source_text(state), f"etcd:/h1/ {text}")

    def test_none(self) -> None:
        """A store in memory has no remote source."""
        self.assertIsNone(source_state(MemoryStore()))
