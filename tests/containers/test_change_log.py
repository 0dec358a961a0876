"""Tests of `devlxd.containers.change_log`."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.change_log import MAX_COMPARED, ChangeLog, changed_keys
from devlxd.containers.memory_store import MemoryStore
from devlxd.containers.store_base import ContainerStoreBase
from devlxd.model import Container
from tests.default_limits import limits

SECRET = "hunter2"

C1 = Container("c1", {"user.a": SECRET, "user.b": "1"}, {"eth0": {"type": "nic"}})


class ChangeLogTests(SynchronousTestCase):
    """Lines about containers that come, go and change."""

    def setUp(self) -> None:
        self.store: ContainerStoreBase = MemoryStore()
        self.events: list[LogEvent] = []
        self.clock = Clock()
        self.log = ChangeLog(self.store, self.clock, limits(log_lines=3))

    def lines(self, *changes: Container | str) -> list[str]:
        """Make changes while the service runs; return the lines in the log."""
        with capturedLogs() as events:
            for change in changes:
                if isinstance(change, Container):
                    self.store.put(change)
                else:
                    self.store.remove(change)
        self.events = [*events]
        return [str(formatEvent(event)) for event in events]

    def test_changes(self) -> None:
        """Each change is one line with the names of keys, and without values."""
        self.log.startService()
        other = evolve(
            C1,
            config={"user.a": "x", "user.c": "2", "user.b": "1"},
            devices={"eth0": {"type": "none"}, "disk": {}},
            hostname="h",
        )
        self.assertEqual(
            self.lines(C1, C1, other, evolve(other, origin="1"), "c1", "c1"),
            [
                "container c1 was added",
                "container c1 has changed: its hostname, device eth0, device disk, "
                "user.a, user.c",
                "container c1 was removed",
            ],
        )
        self.assertEqual({event["container"] for event in self.events}, {"c1"})
        self.assertNotIn(SECRET, repr(self.events))
        self.log.stopService()
        self.log.stopService()
        self.assertEqual(self.lines(C1), [])

    def test_loading(self) -> None:
        """Containers that are found while a store loads are only counted."""
        self.store.mark_loading()
        self.log.startService()
        self.assertEqual(self.lines(C1, evolve(C1, name="c2")), [])
        with capturedLogs() as events:
            self.store.mark_loaded()
        self.assertEqual([*map(formatEvent, events)], ["containers are loaded: 2"])
        self.assertEqual(len(self.lines(evolve(C1, name="c3"))), 1)

    def test_stopped_while_loading(self) -> None:
        """A service that is stopped before the store is loaded logs nothing."""
        self.store.mark_loading()
        self.log.startService()
        self.log.stopService()
        with capturedLogs() as events:
            self.store.mark_loaded()
        self.assertEqual(events, [])

    def test_limit(self) -> None:
        """The number of lines about one container is limited."""
        self.log.startService()
        lines = self.lines(*(evolve(C1, config={"a": str(n)}) for n in range(10)))
        self.assertEqual(len(lines), 1 + 3 + 1)
        self.assertIn("more lines like the last one are suppressed", lines[-1])
        with capturedLogs() as events:
            self.log.stopService()
        self.assertIn("6 more lines about", str(formatEvent(events[0])))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ChangedKeysTests(SynchronousTestCase):
    """The names of the keys that differ."""

    def test_many(self) -> None:
        """At most ten names are listed, and the work for one change is limited."""
        many = evolve(C1, config={f"user.{n}": "1" for n in range(20)}, devices={})
        self.assertEqual(len(changed_keys(C1, many).split(", ")), 11)
        self.assertTrue(changed_keys(C1, many).endswith(", and others"))
        config = {f"user.{n}": "1" for n in range(MAX_COMPARED)}
        one = Container("c1", config)
        other = Container("c1", {**config, "user.z": "1"})
        self.assertEqual(changed_keys(one, other), "perhaps others")

    def test_printable(self) -> None:
        """The name of a key is printed on one line."""
        other = evolve(C1, config={**C1.config, "user.\n\x1b": SECRET})
        self.assertEqual(changed_keys(C1, other), "'user.\\n\\x1b'")
