"""Tests of `devlxd.host.kept_directories`."""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from devlxd.host.kept_directories import KEPT, KeptDirectories
from tests.host.test_socket_directories import SocketDirectoriesTestCase


class KeptDirectoriesTests(SocketDirectoriesTestCase):
    """The directories of removed containers."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.existing: set[str] = set()
        self.kept = KeptDirectories(
            self.directories, self.existing.__contains__, self.clock
        )

    def test_kept(self) -> None:
        """A directory is due after some time, counted from the removal."""
        self.assertIsNone(self.kept.seconds_left())
        self.kept.keep("c1")
        self.clock.advance(KEPT / 2)
        self.kept.keep("c2")
        self.kept.keep("c1")
        self.assertEqual(self.kept.seconds_left(), KEPT / 2)
        self.assertEqual(self.kept.due(), [])
        self.clock.advance(KEPT / 2)
        self.assertEqual(self.kept.due(), ["c1"])
        self.assertEqual(self.kept.seconds_left(), 0)
        self.assertFalse(self.kept.is_due("c2"))

    def test_used(self) -> None:
        """The directory of a container that exists again is not removed."""
        self.kept.keep("c1")
        self.kept.use("c1")
        self.kept.use("c1")
        self.clock.advance(KEPT)
        self.assertEqual(self.kept.due(), [])

    def test_removed(self) -> None:
        """It is removed with its socket; one with anything else stays, with a line."""
        for name in ("c1", "c2"):
            self.make(name)
            self.kept.keep(name)
        os.mkdir(f"{self.path}/c2/more")
        with capturedLogs() as events:
            for name in ("c1", "c2"):
                self.kept.remove(name)
        self.assertEqual(self.directories.names(), ["c2"])
        (event,) = events
        self.assertIn(f"{self.path}/c2 of a removed container", formatEvent(event))
        self.assertIsNone(self.kept.seconds_left())
        self.kept.stop()

    def test_broken(self) -> None:
        """The directory of a container with a broken document is kept once more."""
        self.make("c1")
        self.kept.keep("c1")
        self.existing.add("c1")
        self.clock.advance(KEPT)
        self.kept.remove("c1")
        self.assertEqual(self.directories.names(), ["c1"])
        self.assertEqual(self.kept.seconds_left(), KEPT)
        self.existing.clear()
        self.clock.advance(KEPT)
        self.kept.remove("c1")
        self.assertEqual(self.directories.names(), [])
