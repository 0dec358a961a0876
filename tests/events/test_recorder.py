"""Tests of `devlxd.events.recorder`: failing journals, and restarts."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.events import recorder
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.interfaces import ISubscription, JournalError
from devlxd.model import Container, Event
from devlxd.testing import RecordingSubscriber
from tests.events.test_bus import NAMESPACES, TYPES


class FailingJournal(SQLiteJournal):
    """A journal that outlives its bus, on a disk that may be full.

    :ivar full: whether the disk is full.
    """

    full = False

    def close(self) -> None:
        """See `IJournal.close`. Keeps the events, unless some are missing."""
        if self._file.is_open and not self._file.is_complete:
            super().close()

    def record(
        self,
        incarnation: int,
        container: Container,
        since: int,
        timestamp: int,
        events: Sequence[Event],
    ) -> None:
        """See `IJournal.record`."""
        self.check_disk()
        super().record(incarnation, container, since, timestamp, events)

    def remove(self, incarnation: int) -> None:
        """See `IJournal.remove`."""
        self.check_disk()
        super().remove(incarnation)

    def check_disk(self) -> None:
        """Raise an error if the disk is full."""
        if self.full:
            raise JournalError("disk full")


C1 = Container("c1", {"user.a": "0"}, origin="1")


class FailingTestCase(SynchronousTestCase):
    """A base class with a bus, and a journal that may fail."""

    def setUp(self) -> None:
        self.store = MemoryStore([C1])
        self.journal: SQLiteJournal = self.make_journal()
        self.clock = Clock()
        self.now: Callable[[], int] = count(10**18, 10**6).__next__
        self.namespaces: Sequence[str] = NAMESPACES
        self.start()

    def make_journal(self) -> SQLiteJournal:
        """Return the journal."""
        return FailingJournal()

    def start(self) -> None:
        """Start a bus."""
        self.bus = EventBus(
            self.store,
            self.journal,
            self.clock,
            self.now,
            namespaces=self.namespaces,
        )
        self.bus.startService()
        self.addCleanup(self.bus.stopService)

    def restart(self) -> None:
        """Start another bus, like another process."""
        self.bus.stopService()
        self.start()

    def put(self, *values: str, origin: str = "1") -> None:
        """Set the key ``user.a`` to one value after the other."""
        for value in values:
            self.store.put(evolve(C1, config={"user.a": value}, origin=origin))

    def since(self, timestamp: int) -> RecordingSubscriber:
        """Return a subscriber that has received the events after a timestamp."""
        subscriber = RecordingSubscriber()
        self.bus.subscribe("c1", subscriber, TYPES, timestamp).resume()
        self.clock.advance(0)
        return subscriber


class FullDiskTests(FailingTestCase):
    """A disk that is full temporarily."""

    journal: FailingJournal

    def set_full(self, full: bool) -> None:
        """Set whether the disk is full."""
        self.journal.full = full

    def test_live(self) -> None:
        """Existing subscriptions receive all events, and the log has one line."""
        subscriber = self.since(self.bus.latest("c1"))
        with capturedLogs() as logged:
            self.set_full(True)
            self.put("1", "2")
            self.clock.advance(10 * recorder.RETRY)
            self.set_full(False)
            self.put("3")
        self.assertEqual(subscriber.values(), ["1", "2", "3"])
        self.assertEqual(
            [formatEvent(line) for line in logged],
            [
                "disk full; events are not recorded, devlxd tries again every "
                "10.0 seconds"
            ],
        )

    def test_lost_immediately(self) -> None:
        """A replay of events that were not recorded begins with ``lost``."""
        before = self.bus.latest("c1")
        self.set_full(True)
        self.put("1", "2")
        subscriber = self.since(before)
        self.assertEqual(subscriber.kinds(), ["lost"])
        self.assertEqual(subscriber.events[0].timestamp, self.bus.latest("c1"))
        self.assertEqual(self.since(self.bus.latest("c1")).events, [])
        self.put("3")
        self.assertEqual(subscriber.kinds(), ["lost", "config"])

    def test_recorded_again(self) -> None:
        """When the disk is no longer full, events are recorded again."""
        before = self.bus.latest("c1")
        self.set_full(True)
        self.put("1")
        since = self.bus.latest("c1")
        self.set_full(False)
        self.put("2")
        self.assertEqual(self.since(before).kinds(), ["lost", "config"])
        self.assertEqual(self.since(since).values(), ["2"])
        with capturedLogs() as logged:
            self.clock.advance(recorder.RETRY)
        self.assertEqual(
            [formatEvent(line) for line in logged], ["events are recorded again"]
        )
        self.restart()
        self.assertEqual(self.since(since).kinds(), ["config"])
        self.assertEqual(self.since(before).kinds(), ["lost", "config"])

    def test_retry(self) -> None:
        """A retry records the snapshot; no further change is needed."""
        self.set_full(True)
        self.put("1")
        since = self.bus.latest("c1")
        self.set_full(False)
        self.clock.advance(recorder.RETRY)
        self.restart()
        self.put("2")
        self.assertEqual(self.since(since).values(), ["2"])

    def test_retry_in_steps(self) -> None:
        """A retry records a large snapshot in steps."""
        config = {f"user.{n}": "x" for n in range(10_000)}
        self.set_full(True)
        self.store.put(evolve(C1, config=config))
        self.clock.advance(0)
        self.set_full(False)
        steps = 0
        prepare = self.journal.prepare

        def counting(container: Container, events: Sequence[Event]) -> Iterator[None]:
            nonlocal steps
            for _ in prepare(container, events):
                steps += 1
                yield

        self.patch(self.journal, "prepare", counting)
        self.clock.advance(recorder.RETRY)
        self.assertGreater(steps, 3)
        known = self.journal.last(self.journal.names()["c1"])
        assert known is not None
        self.assertEqual(known[0].config, config)
        self.assertEqual(self.journal._encoder._encoded, {})

    def test_ended_meanwhile(self) -> None:
        """If events are not recorded before a restart, replays begin with ``lost``."""
        before = self.bus.latest("c1")
        self.set_full(True)
        self.put("1", "0")
        events = self.bus.latest("c1")
        self.set_full(False)
        with capturedLogs():
            self.restart()
        for since in (before, events):
            self.assertEqual(self.since(since).kinds()[:1], ["lost"])

    def test_predecessor(self) -> None:
        """A container receives no events of its predecessor that were not removed."""
        self.put("secret")
        self.set_full(True)
        self.store.remove("c1")
        self.set_full(False)
        self.assertEqual(len(self.journal.incarnations()), 1)
        self.put("0", origin="2")
        self.assertEqual(self.since(0).kinds(), ["lost"])
        self.restart()
        self.assertEqual(self.since(0).kinds(), ["lost"])
        self.clock.advance(recorder.FORGET_AFTER)
        self.assertEqual(len(self.journal.incarnations()), 1)

    def test_removed_later(self) -> None:
        """Events that could not be removed are removed by a retry."""
        self.set_full(True)
        self.store.remove("c1")
        self.set_full(False)
        self.clock.advance(recorder.RETRY)
        self.assertEqual(list(self.journal.incarnations()), [])

    def test_removed_while_behind(self) -> None:
        """A replay of a removed container starts with ``lost`` after a failure."""
        self.put("1")
        subscriber = RecordingSubscriber()
        subscription = self.bus.subscribe("c1", subscriber, TYPES, since=0)
        self.set_full(True)
        self.store.remove("c1")
        subscription.resume()
        self.assertEqual(subscriber.kinds(), ["lost"])
        self.assertEqual(len(subscriber.ends), 1)


class RestartTests(FailingTestCase):
    """The recorded events of a container after a restart."""

    def test_another(self) -> None:
        """Recorded events belong to one container, not to its successor."""
        cases: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
            ({"origin": "1"}, {"origin": "1"}, True),
            ({"origin": "1"}, {"origin": "2"}, False),
            ({"origin": ""}, {"origin": ""}, False),
            ({"origin": "1"}, {"origin": ""}, False),
            ({"id": "1", "origin": "1"}, {"id": "1", "origin": "2"}, True),
            ({"id": "1", "origin": "1"}, {"id": "2", "origin": "1"}, False),
        ]
        for old, new, is_same in cases:
            for uuids, still_same in (
                (("", ""), is_same),
                (("u", ""), is_same),
                (("u", "u"), old.get("id") == new.get("id")),
                (("u", "v"), False),
            ):
                containers = [
                    evolve(
                        Container("c1", {"user.a": v, "volatile.uuid": uuid}), **what
                    )
                    for v, uuid, what in zip("01", uuids, (old, new), strict=True)
                ]
                self.store.remove("c1")
                self.store.put(containers[0])
                since = self.bus.latest("c1")
                self.bus.stopService()
                self.store.put(containers[1])
                self.start()
                kinds = ["config"] if still_same else ["lost"]
                self.assertEqual(self.since(since).kinds(), kinds, (old, new, uuids))

    def test_new_identity(self) -> None:
        """A new origin of a container is recorded while the bus runs."""
        since = self.bus.latest("c1")
        self.put("0", origin="2")
        self.bus.stopService()
        self.put("1", origin="2")
        self.start()
        self.assertEqual(self.since(since).kinds(), ["config"])

    def test_clock_set_back(self) -> None:
        """If the clock is set back, subscribers of a predecessor receive ``lost``."""
        self.put("1", "2")
        since = self.bus.latest("c1")
        self.bus.stopService()
        self.now = lambda: 0
        self.put("2", origin="2")
        self.start()
        self.assertEqual(self.since(since).kinds(), ["lost"])


class FileTests(FailingTestCase):
    """A journal in a file."""

    def make_journal(self) -> SQLiteJournal:
        """Return the journal."""
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute() / "journal"
        return SQLiteJournal(str(self.path))

    def make_fail(self, name: str) -> None:
        """Make a method of the journal fail with an error of SQLite."""

        def fail(*_: object) -> None:
            with self.journal._file.reported():
                raise sqlite3.OperationalError("disk I/O error")

        patch = self.patch(self.journal, name, fail)
        self.addCleanup(patch.restore)

    def test_reading(self) -> None:
        """If the journal cannot be read, ``lost`` and new events are delivered."""
        self.make_fail("since")
        subscriber = self.since(0)
        self.put("1")
        self.assertEqual(subscriber.kinds(), ["lost", "config"])

    def test_starting(self) -> None:
        """New events are delivered, whichever method fails at the start."""
        for name in ("open", "names", "latest", "last", "record", "incarnations"):
            self.make_fail(name)
            with capturedLogs() as logged:
                self.restart()
                self.clock.advance(recorder.FORGET_AFTER)
                subscriber = self.since(0)
                self.put(name)
            levels = [line["log_level"] for line in logged]
            self.assertEqual(levels.count(LogLevel.error), 1, name)
            self.assertEqual(subscriber.values(), [name])
            self.assertEqual(subscriber.kinds()[0], "lost")
            self.doCleanups()
            self.setUp()

    def test_opened_later(self) -> None:
        """A journal in a missing directory is created when the directory exists."""
        self.bus.stopService()
        self.path = self.path.parent / "state" / "journal"
        self.journal = SQLiteJournal(str(self.path))
        with capturedLogs() as logged:
            self.start()
            self.clock.advance(10 * recorder.RETRY)
            self.assertEqual(len(logged), 1)
            self.path.parent.mkdir()
            self.clock.advance(recorder.RETRY)
        since = self.bus.latest("c1")
        self.put("1")
        self.restart()
        self.assertEqual(self.since(since).values(), ["1"])

    def test_other_namespaces(self) -> None:
        """A change of the namespaces causes no events of unchanged keys."""
        config = {"user.a": "0", "cloud-init.b": "1"}
        self.store.put(evolve(C1, config=config))
        since = self.bus.latest("c1")
        for self.namespaces in (("user.", "cloud-init."), ("user.",)):
            with capturedLogs() as logged:
                self.restart()
            self.assertIn("other config keys", formatEvent(logged[0]) or "")
            self.assertEqual(self.since(since).kinds(), ["lost"])
            self.assertEqual(self.since(self.bus.latest("c1")).kinds(), [])
            since = self.bus.latest("c1")

    def test_damaged_later(self) -> None:
        """Damage that is detected later is logged; recorded events are lost."""
        subscriber = self.since(self.bus.latest("c1"))
        self.put(*(f"{n}{'x' * 10_000}" for n in range(300)))
        self.restart()
        self.journal._file.connection.execute("PRAGMA cache_size = 1")
        with open(self.path, "r+b") as file:
            file.truncate(self.path.stat().st_size // 2)
        with capturedLogs() as logged:
            live = self.since(self.bus.latest("c1"))
            late = self.since(subscriber.events[0].timestamp)
            self.assertEqual(late.kinds()[-1], "lost")
            self.put("1")
            self.clock.advance(recorder.RETRY)
        self.assertEqual(len(logged), 1)
        self.assertIn("damaged", formatEvent(logged[0]) or "")
        self.assertEqual(live.values(), ["1"])
        since = self.bus.latest("c1")
        self.put("2")
        self.restart()
        self.assertEqual(self.since(since).values(), ["2"])


NAMES = st.sampled_from(["c1", "c2"])

#: A paused replay: the name of the container, ``since``, all events of the
#: container, the subscriber and the subscription.
Replay = tuple[str, int, list[Event], RecordingSubscriber, ISubscription]


class FailuresMachine(RuleBasedStateMachine):
    """Changes, full disks, restarts and replaced containers, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.journal = FailingJournal()
        self.clock = Clock()
        self.now = count(10**18, 10**6).__next__
        self.count = 0
        self.events: dict[str, list[Event]] = {}
        self.replays: list[Replay] = []
        self.start()

    def start(self) -> None:
        """Start a bus."""
        self.bus = EventBus(
            self.store, self.journal, self.clock, self.now, namespaces=NAMESPACES
        )
        with capturedLogs():
            self.bus.startService()
        for name in self.store.names():
            self.add_subscriber(name)

    def add_subscriber(self, name: str) -> None:
        """Collect the events of a container in ``self.events``."""
        events = self.events.setdefault(name, [])
        subscriber = RecordingSubscriber()
        subscriber.events = events
        self.bus.subscribe(name, subscriber, TYPES).resume()

    @rule(name=NAMES)
    def change(self, name: str) -> None:
        """Change or add a container."""
        self.count += 1
        known = self.store.get(name)
        config = {"user.a": str(self.count)}
        if known is None:
            with capturedLogs():
                self.store.put(Container(name, config, origin=str(self.count)))
            self.events[name] = []
            self.add_subscriber(name)
        else:
            with capturedLogs():
                self.store.put(evolve(known, config=config))

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        """Remove a container."""
        with capturedLogs():
            self.store.remove(name)
        self.events.pop(name, None)

    @rule(full=st.booleans())
    def set_full(self, full: bool) -> None:
        """Set whether the disk is full."""
        self.journal.full = full

    @rule(seconds=st.sampled_from([0, recorder.RETRY, recorder.FORGET_AFTER]))
    def wait(self, seconds: float) -> None:
        """Advance the clock."""
        with capturedLogs():
            self.clock.advance(seconds)

    @rule(replaced=st.booleans())
    def restart(self, replaced: bool) -> None:
        """Stop the bus, and start another one.

        :param replaced: whether a container is replaced in the meantime.
        """
        self.bus.stopService()
        self.replays = []
        full, self.journal.full = self.journal.full, False
        if replaced and self.store.names():
            name = min(self.store.names())
            self.count += 1
            config = {"user.a": str(self.count)}
            self.store.put(Container(name, config, origin=str(self.count)))
            self.events.pop(name)
        self.journal.full = full
        self.start()

    @rule(name=NAMES, back=st.integers(0, 5))
    def subscribe_paused(self, name: str, back: int) -> None:
        """Subscribe with ``since``, and stay paused."""
        if name in self.events:
            events = self.events[name]
            since = events[-back - 1].timestamp if back < len(events) else 0
            subscriber = RecordingSubscriber()
            subscription = self.bus.subscribe(name, subscriber, TYPES, since)
            self.replays.append((name, since, events, subscriber, subscription))

    @rule()
    def read(self) -> None:
        """Resume all replays, and check what they deliver."""
        for _, since, events, subscriber, subscription in self.replays:
            with capturedLogs():
                subscription.resume()
                self.clock.advance(0)
            expected = [event for event in events if event.timestamp > since]
            found = subscriber.events
            lost = [event.timestamp for event in found if event.type == "lost"]
            assert len(lost) <= 1
            complete_since = max(lost, default=since)
            received = [event for event in found if event.type != "lost"]
            # No events of other containers, and all its own events after ``lost``.
            missing = [e for e in expected if e not in received]
            assert all(event in expected for event in received), (received, expected)
            assert all(event.timestamp <= complete_since for event in missing)
            if since == 0:
                assert lost, "events before the first one are not recorded"
            subscription.cancel()
        self.replays = []

    def teardown(self) -> None:
        """Resume all replays, and stop the bus."""
        self.read()
        self.bus.stopService()


class AnyFailureTests(SynchronousTestCase):
    """Any sequence of failures."""

    def test_any_failure(self) -> None:
        """No events of another container are delivered; ``lost`` precedes any gap."""
        run_state_machine_as_test(
            FailuresMachine,
            settings=settings(max_examples=150, stateful_step_count=40, deadline=None),
        )
