"""Contract tests of `IJournal`, run on a file and in memory."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from attrs import evolve
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.events import journal_schema
from devlxd.events.journal import MAX_ROWS, SQLiteJournal
from devlxd.events.journal_bounds import KEPT, MAX_CONTAINER_BYTES
from devlxd.interfaces import (
    IJournal,
    JournalError,
    JournalLockedError,
    JournalVersionError,
)
from devlxd.model import Container, Event
from devlxd.timestamps import timestamp_text

C1 = Container(
    "c1",
    {"user.a": "1", "volatile.uuid": "u", "limits.cpu": "2"},
    {"eth0": {"type": "nic"}},
    id="i",
    origin="o",
)

C2 = Container("c2")

#: The incarnations of the two.
ONE, TWO = 2**62 + 1, 5

TYPES = ("config", "device")

NAMESPACES = ("user.",)

#: The schema of version 1.
VERSION_1 = """
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    BEGIN;
    CREATE TABLE incarnations (
        id INTEGER PRIMARY KEY,
        number INTEGER NOT NULL UNIQUE,
        name TEXT NOT NULL,
        complete_since INTEGER NOT NULL,
        last_timestamp INTEGER NOT NULL,
        events INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        document_checksum INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        document BLOB NOT NULL
    );
    CREATE TABLE events (
        incarnation INTEGER NOT NULL,
        timestamp INTEGER NOT NULL,
        type TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        text BLOB NOT NULL,
        PRIMARY KEY (incarnation, timestamp)
    ) WITHOUT ROWID;
    CREATE INDEX events_by_type ON events (incarnation, type, timestamp);
    PRAGMA user_version = 1;
    COMMIT;
"""

#: What is remembered of it.
REMEMBERED = evolve(C1, config={"user.a": "1", "volatile.uuid": "u"})


def event(timestamp: int, name: str = "c1", kind: str = "config") -> Event:
    """Make an event."""
    return Event(name, kind, timestamp, {"value": str(timestamp)})


def long_event(timestamp: int, size: int) -> Event:
    """Make an event of ``size`` bytes."""
    value = "x" * (size - len('{"value":""}'))
    return evolve(event(timestamp), metadata={"value": value})


def file_journal() -> SQLiteJournal:
    """Make a journal in a file."""
    return SQLiteJournal(str(Path(tempfile.mkdtemp(dir=".")) / "journal"))


def journal_tests(make: Callable[[], IJournal]) -> type[SynchronousTestCase]:
    """Make the tests of what every journal promises."""

    class JournalTests(SynchronousTestCase):
        """The contract of `IJournal`."""

        def setUp(self) -> None:
            self.journal = make()
            self.journal.open(NAMESPACES)
            self.addCleanup(self.journal.close)

        def test_interface(self) -> None:
            """It provides the interface."""
            self.assertTrue(verifyObject(IJournal, self.journal))

        def test_unknown(self) -> None:
            """Of a container that it does not know it knows nothing."""
            self.assertIsNone(self.journal.last(ONE))
            self.assertEqual(self.journal.latest(), 0)
            self.assertEqual(self.since(0), (None, []))
            self.assertEqual(self.journal.names(), {})
            self.assertEqual(list(self.journal.incarnations()), [])
            self.journal.remove(ONE)

        def since(
            self, timestamp: int, incarnation: int = ONE
        ) -> tuple[int | None, Sequence[Event]]:
            """Return from when on nothing is missing, and all events after a time."""
            found: list[Event] = []
            is_all = False
            while not is_all:
                complete_since, some, is_all = self.journal.since(
                    incarnation, timestamp, TYPES, 10**6
                )
                found += some
                timestamp = found[-1].timestamp if found else 0
            return complete_since, found

        def test_last(self) -> None:
            """It remembers the last snapshot, of what events tell of."""
            self.journal.record(ONE, C1, 5, 5, [])
            self.assertEqual(self.journal.last(ONE), (REMEMBERED, 5))
            changed = evolve(C1, config={})
            self.journal.record(ONE, changed, 5, 7, [event(6), event(7)])
            self.assertEqual(self.journal.last(ONE), (changed, 7))
            self.assertEqual(self.journal.names(), {"c1": ONE})
            self.assertEqual(self.journal.latest(), 7)

        def test_prepared(self) -> None:
            """A large snapshot is written down in steps, none of which is long."""
            written = 0
            dumps = json.dumps

            def counting(value: object) -> str:
                nonlocal written
                text = dumps(value)
                written += len(text)
                return text

            large = evolve(
                REMEMBERED,
                config={f"user.{n}": str(n) for n in range(10_000)},
                devices={f"d{n}": {"type": "nic"} for n in range(10_000)},
            )
            self.patch(json, "dumps", counting)
            before = steps = 0
            for _ in self.journal.prepare(large, ()):
                self.assertLess(written - before, 100_000)
                before = written
                steps += 1
            self.assertGreater(steps, 5)
            self.journal.record(ONE, large, 4, 5, ())
            self.assertEqual(self.journal.last(ONE), (large, 5))

        def test_since(self) -> None:
            """It tells what came after a time, and since when it knows all."""
            self.journal.record(ONE, C1, 5, 5, [])
            self.journal.record(ONE, C1, 5, 8, [event(6), event(7), event(8)])
            self.journal.record(TWO, C2, 6, 6, [event(6, "c2")])
            for since, expected in ((0, [6, 7, 8]), (6, [7, 8]), (8, []), (9, [])):
                complete_since, events = self.since(since)
                self.assertEqual(complete_since, 5)
                self.assertEqual(list(events), [event(n) for n in expected])
            size = event(6).size
            for most, number in ((0, 1), (1, 1), (2, 2), (3, 3), (9, 3)):
                _, events, is_all = self.journal.since(ONE, 0, TYPES, most * size)
                self.assertEqual((len(events), is_all), (number, number == 3))

        def test_types(self) -> None:
            """It tells the events of some types, in the order of time."""
            kinds = ["config", "device", "device", "config", "other"]
            events = [event(n, kind=kind) for n, kind in enumerate(kinds)]
            self.journal.record(ONE, C1, 0, 4, events)
            for types, expected in (
                (["device"], [1, 2]),
                (["device", "config"], [0, 1, 2, 3]),
                (["none", "other"], [4]),
                ([], []),
            ):
                _, found, _ = self.journal.since(ONE, -1, types, 10**6)
                self.assertEqual([e.timestamp for e in found], expected)

        def test_bounded_work(self) -> None:
            """However many events there are, it reads only some of them."""
            events = [event(n, kind="x" if n < 900 else "y") for n in range(1000)]
            self.journal.record(ONE, C1, 0, 999, events)
            _, found, is_all = self.journal.since(ONE, 0, ["x", "y"], 10**6)
            self.assertEqual((len(found), is_all), (MAX_ROWS, False))
            self.assertEqual(found[-1].timestamp, MAX_ROWS)

        def test_incarnations(self) -> None:
            """Containers of one name, one after the other, have nothing in common."""
            self.journal.record(ONE, C1, 1, 3, [event(3)])
            self.journal.record(TWO, C1, 2, 2, [])
            self.assertEqual(self.since(0, TWO), (2, []))
            self.assertEqual(self.journal.names(), {"c1": TWO})
            self.assertEqual(set(self.journal.incarnations()), {ONE, TWO})
            self.assertEqual(self.journal.latest(), 3)
            self.journal.remove(TWO)
            self.assertEqual(self.since(0), (1, [event(3)]))

        def test_kept(self) -> None:
            """Of very many events it keeps the last, and says what it lacks."""
            self.journal.record(ONE, C1, 1, 1, [])
            for n in range(2, 3 * KEPT + 2):
                self.journal.record(ONE, C1, 1, n, [event(n)])
            complete_since, events = self.since(0)
            self.assertGreaterEqual(len(events), KEPT)
            self.assertLess(len(events), 2 * KEPT)
            self.assertEqual(events[0].timestamp, (complete_since or 0) + 1)
            self.assertEqual(events[-1], event(3 * KEPT + 1))

        def test_huge_change(self) -> None:
            """Of a huge change it keeps as much as of many small ones."""
            self.journal.record(ONE, C1, 1, 2, [event(2)])
            events = [event(n) for n in range(3, 5 * KEPT)]
            self.journal.record(ONE, C1, 2, events[-1].timestamp, events)
            self.assertEqual(
                self.since(0), (events[-KEPT - 1].timestamp, events[-KEPT:])
            )

        def test_remove(self) -> None:
            """What it has forgotten it does not know."""
            self.journal.record(ONE, C1, 1, 1, [event(1)])
            self.journal.record(TWO, C2, 1, 1, [event(1, "c2")])
            self.journal.remove(ONE)
            self.assertIsNone(self.journal.last(ONE))
            self.assertEqual(self.since(0), (None, []))
            self.journal.record(ONE, C1, 7, 7, [])
            self.assertEqual(self.since(0), (7, []))
            self.assertEqual(len(self.since(0, TWO)[1]), 1)

        def test_both_or_nothing(self) -> None:
            """What could not be recorded whole was not recorded at all."""
            self.journal.record(ONE, C1, 4, 5, [event(5)])
            changed = evolve(C1, config={})
            self.assertRaises(
                JournalError,
                self.journal.record,
                ONE,
                changed,
                5,
                6,
                [event(6), event(5)],
            )
            self.assertEqual(self.journal.last(ONE), (REMEMBERED, 5))
            self.assertEqual(self.since(0), (4, [event(5)]))

        def test_closed(self) -> None:
            """When it is closed every method fails in one way."""
            self.journal.close()
            for method in ("names", "incarnations", "latest"):
                self.assertRaises(JournalError, getattr(self.journal, method))
            self.assertRaises(JournalError, self.journal.last, ONE)
            self.assertRaises(JournalError, self.journal.remove, ONE)
            self.assertRaises(JournalError, self.since, 0)
            self.assertRaises(JournalError, self.journal.record, ONE, C1, 0, 0, [])

    return JournalTests


FileJournalTests = journal_tests(file_journal)
MemoryJournalTests = journal_tests(SQLiteJournal)


class FileTestCase(SynchronousTestCase):
    """Has the path of a file."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute() / "journal"

    def opened(self, **bounds: int) -> SQLiteJournal:
        """Open a journal in the file."""
        journal = SQLiteJournal(str(self.path), **bounds)
        journal.open(NAMESPACES)
        self.addCleanup(journal.close)
        return journal

    def since(self, journal: SQLiteJournal) -> tuple[int | None, Sequence[Event]]:
        """Return from when on nothing is missing, and the first events."""
        return journal.since(ONE, 0, TYPES, 10**6)[:2]


class SQLiteJournalTests(FileTestCase):
    """A journal in a file."""

    def test_outlives_its_process(self) -> None:
        """What was recorded is there when the file is opened again."""
        journal = self.opened()
        journal.record(ONE, C1, 4, 5, [event(5)])
        journal.close()
        journal = self.opened()
        self.assertEqual(journal.last(ONE), (REMEMBERED, 5))
        self.assertEqual(self.since(journal), (4, [event(5)]))

    def test_one_at_a_time(self) -> None:
        """A journal that another process uses is not used, and left alone."""
        one = self.opened()
        for _ in range(2):
            self.assertRaises(JournalLockedError, self.opened)
        other = SQLiteJournal(str(self.path))
        self.assertRaises(JournalLockedError, other.check)
        other.set_complete(False)
        one.record(ONE, C1, 5, 5, [])
        one.close()
        other.check()
        self.assertEqual(self.since(self.opened()), (5, []))

    def test_not_there(self) -> None:
        """A file that cannot be made is named; that is no reason not to start."""
        self.path = self.path / "none" / "journal"
        error = self.assertRaises(JournalError, self.opened)
        self.assertIn(f"{self.path}: No such file", str(error))
        SQLiteJournal(str(self.path)).check()

    def test_private(self) -> None:
        """Nobody else may read it."""
        self.opened().set_complete(False)
        self.assertEqual(self.path.stat().st_mode & 0o077, 0)

    def test_incomplete(self) -> None:
        """What is not complete when its process ends is forgotten."""
        for complete, known in ((True, 5), (False, None)):
            journal = self.opened()
            journal.record(ONE, C1, 5, 5, [])
            journal.set_complete(False)
            journal.set_complete(complete)
            journal.close()
            with capturedLogs() as logged:
                journal = self.opened()
            self.assertEqual(self.since(journal), (known, []))
            self.assertEqual(len(logged), known is None)
            journal.close()

    def test_checked_in_no_time(self) -> None:
        """Only the version is read of a file before it is opened, however long."""
        journal = self.opened()
        journal.record(ONE, C1, 4, 5, [event(5)])
        journal.close()
        executed: list[str] = []
        connect = sqlite3.connect

        def traced(
            path: str, timeout: int, isolation_level: None
        ) -> sqlite3.Connection:
            connection = connect(path, timeout=timeout, isolation_level=isolation_level)
            connection.set_trace_callback(executed.append)
            return connection

        self.patch(sqlite3, "connect", traced)
        SQLiteJournal(str(self.path)).check()
        self.assertEqual(
            executed, ["PRAGMA locking_mode = EXCLUSIVE", "PRAGMA user_version"]
        )


def make_version_1(
    path: Path, incarnation: int, container: Container, events: Sequence[Event]
) -> None:
    """Write a file as the devlxd did that made version 1 of the schema."""

    def checksum(*facts: object, data: bytes) -> int:
        return zlib.crc32(data, zlib.crc32(repr(facts).encode()))

    messages = [
        json.dumps(
            {
                "timestamp": timestamp_text(event.timestamp),
                "type": event.type,
                "metadata": dict(event.metadata),
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
        for event in events
    ]
    document = json.dumps(
        {
            "id": container.id,
            "origin": container.origin,
            "devices": {name: dict(d) for name, d in container.devices.items()},
            "config": dict(container.config),
        }
    ).encode()
    facts = (
        incarnation,
        container.name,
        events[-1].timestamp,
        checksum(data=document),
    )
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.executescript(VERSION_1)
        file.execute(
            "INSERT INTO incarnations VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *facts[:2],
                events[0].timestamp - 1,
                facts[2],
                len(events),
                sum(map(len, messages)),
                facts[3],
                checksum(*facts, data=b""),
                document,
            ),
        )
        file.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
            [
                (
                    incarnation,
                    event.timestamp,
                    event.type,
                    checksum(event.timestamp, event.type, data=message),
                    message,
                )
                for event, message in zip(events, messages, strict=True)
            ],
        )
        file.commit()


class VersionTests(FileTestCase):
    """A file that another version of devlxd has made."""

    def test_older(self) -> None:
        """What the first devlxds have made is begun anew, with a line in the log."""
        with contextlib.closing(sqlite3.connect(self.path)) as old:
            old.execute("CREATE TABLE containers (id INTEGER PRIMARY KEY)")
        with capturedLogs() as logged:
            journal = self.opened()
        self.assertEqual(len(logged), 1)
        journal.record(ONE, C1, 5, 5, [])
        journal.close()
        with capturedLogs() as logged:
            self.assertEqual(self.since(self.opened()), (5, []))
        self.assertEqual(logged, [])

    def test_version_1(self) -> None:
        """The events of version 1, rendered messages, are what they were."""
        config = {"key": "user.a", "old_value": "", "value": "\u20ac \n"}
        device = {"name": "eth0", "action": "added", "config": {"type": "nic"}}
        events = [Event("c1", "config", 5, config), Event("c1", "device", 6, device)]
        make_version_1(self.path, ONE, REMEMBERED, events)
        for _ in range(2):
            with capturedLogs() as logged:
                journal = self.opened(container_bytes=1000)
            self.assertEqual(logged, [])
            self.assertEqual(journal.last(ONE), (REMEMBERED, 6))
            complete_since, found = self.since(journal)
            self.assertEqual((complete_since, list(found)), (4, events))
            self.assertEqual([e.size for e in found], [e.size for e in events])
            journal.close()
        journal = self.opened()
        lengths = "SELECT sum(length(metadata)), bytes FROM events, incarnations"
        self.assertEqual(*journal._file.connection.execute(lengths).fetchone())
        journal.record(ONE, C1, 5, 7, [event(7)])
        self.assertEqual(len(self.since(journal)[1]), 3)

    def test_version_1_of_other_keys(self) -> None:
        """Its events are of ``user.``: if others are wanted it is begun anew."""
        make_version_1(self.path, ONE, REMEMBERED, [event(5)])
        journal = SQLiteJournal(str(self.path))
        self.addCleanup(journal.close)
        with capturedLogs() as logged:
            journal.open(("cloud-init.", "user."))
        self.assertEqual(len(logged), 1)
        self.assertEqual(self.since(journal), (None, []))

    def test_version_1_damaged(self) -> None:
        """If it is damaged it is set aside, as any other."""
        make_version_1(self.path, ONE, REMEMBERED, [event(5)])
        with contextlib.closing(sqlite3.connect(self.path)) as damaged, damaged:
            damaged.execute("UPDATE events SET text = x'7b7d'")
        with capturedLogs() as logged:
            journal = self.opened()
        self.assertRegex(formatEvent(logged[0]) or "", r"to \S+damaged-\d{8}T\d{6},")
        self.assertEqual(self.since(journal), (None, []))

    def test_version_1_on_a_full_disk(self) -> None:
        """If there is no room to bring it up to date it is begun anew."""
        make_version_1(self.path, ONE, REMEMBERED, [event(5)])

        def fail(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(journal_schema, "_migrate_events", fail)
        with capturedLogs() as logged:
            journal = self.opened()
        self.assertEqual(
            [formatEvent(line) for line in logged],
            [
                f"{self.path}: it cannot be brought up to date (database or disk is "
                "full); devlxd starts a new journal"
            ],
        )
        self.assertEqual(self.since(journal), (None, []))

    def test_other_namespaces(self) -> None:
        """What was recorded with other namespaces is forgotten."""
        wide = SQLiteJournal(str(self.path))
        wide.open(["user.", "cloud-init."])
        wide.record(ONE, C1, 5, 5, [event(5)])
        wide.close()
        with capturedLogs() as logged:
            wide.open(["cloud-init.", "user.", "user."])
        self.assertEqual(logged, [])
        self.assertEqual(self.since(wide), (5, [event(5)]))
        wide.close()
        with capturedLogs() as logged:
            journal = self.opened()
        self.assertEqual(len(logged), 1)
        self.assertEqual(self.since(journal), (None, []))
        self.assertIsNone(journal.last(ONE))

    def test_newer(self) -> None:
        """What a newer one has made is left alone: the versions are named."""
        self.opened().close()
        with contextlib.closing(sqlite3.connect(self.path)) as newer:
            newer.execute("PRAGMA user_version = 77")
        before = self.path.read_bytes()
        journal = SQLiteJournal(str(self.path))
        for method in (partial(journal.open, NAMESPACES), journal.check):
            error = self.assertRaises(JournalVersionError, method)
            self.assertRegex(str(error), "format is 77, .* 2$")
        journal.set_complete(False)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(os.listdir(self.path.parent), ["journal"])


def overwrite(path: Path, part: float) -> None:
    """Write nonsense into the header, the middle or the end of a file."""
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(int((size - 2048) * part))
        file.write(b"nonsense" * 256)


def write_over(path: Path) -> None:
    """Let a file be something else."""
    path.write_text("x" * 5000)


def truncate(path: Path) -> None:
    """Cut a file off in the middle."""
    os.truncate(path, path.stat().st_size // 2)


def replace(path: Path) -> None:
    """Put a directory in the place of a file."""
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "header": partial(overwrite, part=0),
    "middle": partial(overwrite, part=0.5),
    "tail": partial(overwrite, part=1),
    "truncated": truncate,
    "all": write_over,
    "directory": replace,
}


def text_of(timestamp: int) -> str:
    """Return the value of a long event."""
    return f"{1000 + timestamp}" * 5000


class DamageTests(FileTestCase):
    """A file that is not what was written."""

    def filled(self) -> SQLiteJournal:
        """Open a journal, and record something."""
        journal = self.opened()
        for n in range(1, 200):
            journal.record(
                ONE, C1, 0, n, [evolve(event(n), metadata={"value": text_of(n)})]
            )
        return journal

    def execute(self, statement: str) -> None:
        """Change what is in the file, as SQLite does."""
        with contextlib.closing(sqlite3.connect(self.path)) as database, database:
            database.execute(statement)

    def set_aside(self) -> list[str]:
        """Return the names of what was set aside."""
        names = os.listdir(self.path.parent)
        return [name for name in names if re.fullmatch(r"journal\.damaged-\w+", name)]

    def test_found_at_the_start(self) -> None:
        """It is set aside under a name with the date, and a new file begun."""
        for name, damage in DAMAGES.items():
            self.setUp()
            self.filled().close()
            damage(self.path)
            with capturedLogs() as logged:
                journal = self.opened()
                if name == "tail":
                    # What is not told from what was written before it is read.
                    self.assertRaises(JournalError, self.read_all, journal)
            self.assertEqual(len(logged), 1, name)
            self.assertRegex(
                formatEvent(logged[0]) or "", r"to \S+damaged-\d{8}T\d{6},"
            )
            self.assertEqual(len(self.set_aside()), 1, name)
            self.assertEqual(self.since(journal), (None, []), name)
            journal.record(ONE, C1, 5, 5, [])
            journal.close()
            self.assertEqual(self.since(self.opened()), (5, []), name)

    def test_found_later(self) -> None:
        """It is set aside when it is found, and a new one begun."""
        for name in ("tail", "truncated"):
            self.setUp()
            self.filled().close()
            journal = self.opened()
            # What SQLite has in memory is not damaged.
            journal._file.connection.execute("PRAGMA cache_size = 1")
            DAMAGES[name](self.path)
            with capturedLogs() as logged:
                self.assertRaises(JournalError, self.read_all, journal)
            self.assertEqual(len(logged), 1, name)
            self.assertEqual(len(self.set_aside()), 1, name)
            self.assertEqual(journal.names(), {}, name)

    def read_all(self, journal: SQLiteJournal) -> None:
        """Read all that is there, and check that it is what was written."""
        since, is_all = 0, False
        while not is_all:
            _, events, is_all = journal.since(ONE, since, TYPES, 1)
            for found in events:
                since = found.timestamp
                self.assertEqual(found.metadata["value"], text_of(since))
        journal.last(ONE)

    def test_garbled(self) -> None:
        """What is well formed, and yet not what was written, is not told."""
        for statement in (
            "UPDATE events SET metadata = x'ff' WHERE timestamp = 7",
            "UPDATE events SET metadata = 5 WHERE timestamp = 7",
            "UPDATE incarnations SET document = x'ff'",
            "UPDATE incarnations SET document = 'a text'",
            "UPDATE incarnations SET document_checksum = 5",
            "UPDATE incarnations SET last_timestamp = 9223372036854775807",
            "UPDATE incarnations SET name = 'c2'",
            "UPDATE events SET timestamp = 1007 WHERE timestamp = 7",
            "UPDATE events SET type = 'device' WHERE timestamp = 7",
            "DROP TABLE events",
            "DROP TABLE incarnations",
        ):
            self.setUp()
            self.filled().close()
            self.execute(statement)
            with capturedLogs(), contextlib.suppress(JournalError):
                self.read_all(self.opened())
            self.assertEqual(len(self.set_aside()), 1, statement)

    def test_wrong_lengths(self) -> None:
        """Lengths that cannot be true are damage, and not worked at for ever."""
        self.filled().close()
        self.execute("UPDATE incarnations SET bytes = bytes + (1 << 40)")
        journal = self.opened()
        with capturedLogs():
            self.assertRaises(
                JournalError, journal.record, ONE, C1, 0, 500, [event(500)]
            )
        self.assertEqual(len(self.set_aside()), 1)
        journal.record(ONE, C1, 5, 6, [event(6)])
        self.assertEqual(self.since(journal), (5, [event(6)]))

    def test_wrong_timestamps(self) -> None:
        """The timestamp of all is not believed if it is not what was written."""
        for method in (SQLiteJournal.latest, SQLiteJournal.names):
            self.setUp()
            self.filled().close()
            self.execute("UPDATE incarnations SET last_timestamp = (1 << 62)")
            journal = self.opened()
            with capturedLogs():
                self.assertRaises(JournalError, method, journal)
            self.assertEqual(journal.latest(), 0)

    def test_too_large(self) -> None:
        """A number that is larger than what was written is damage as well."""
        journal = self.filled()
        with capturedLogs():
            self.assertRaises(
                JournalError, journal.record, ONE, C1, 0, 2**63, [event(2**63)]
            )
        self.assertEqual(len(self.set_aside()), 1)


class BoundTests(FileTestCase):
    """How large it becomes."""

    def test_container(self) -> None:
        """Of each container there are only so many bytes, the newest."""
        journal = self.opened(container_bytes=2_000_000)
        for n in range(1, 200):
            journal.record(ONE, C1, 0, n, [long_event(n, 100_000)])
            journal.record(TWO, C2, 0, n, [event(n, "c2")])
        complete_since, events, _ = journal.since(ONE, 0, TYPES, 10**9)
        self.assertEqual(events[0].timestamp, (complete_since or 0) + 1)
        self.assertEqual(events[-1].timestamp, 199)
        self.assertTrue(20 <= len(events) <= 31)
        self.assertEqual(len(journal.since(TWO, 0, TYPES, 10**9)[1]), 199)

    def test_altogether(self) -> None:
        """Of all there are only so many: who has most keeps less."""
        journal = self.opened(all_bytes=3_000_000)
        journal.record(TWO, C2, 0, 1, [event(1, "c2")])
        for n in range(1, 100):
            journal.record(ONE, C1, 0, n, [long_event(n, 100_000)])
            journal.record(n + 10, C1, 0, n, [long_event(n, 10_000)])
        held = sum(
            found.size
            for number in journal.incarnations()
            for found in journal.since(number, 0, TYPES, 10**9)[1]
        )
        self.assertTrue(2_000_000 < held <= 3_000_000, held)
        self.assertEqual(len(journal.since(TWO, 0, TYPES, 10**9)[1]), 1)

    def test_one_too_long(self) -> None:
        """An event that is longer than all that is kept is not kept."""
        journal = self.opened(container_bytes=1000)
        journal.record(ONE, C1, 0, 1, [long_event(1, 2000)])
        self.assertEqual(self.since(journal), (1, []))
        journal.record(ONE, C1, 1, 3, [event(2), event(3)])
        self.assertEqual(self.since(journal), (1, [event(2), event(3)]))

    def test_file(self) -> None:
        """The file shrinks when containers go, bit by bit."""
        journal = self.opened()
        for number in (1, 2, 3):
            journal.record(number, C1, 0, 1, [long_event(1, 5_000_000)])
        for number in (1, 2):
            journal.remove(number)
        sizes = []
        for n in range(20):
            journal.record(3, C1, 0, 2 + n, [event(2 + n)])
            journal.close()
            sizes.append(self.path.stat().st_size)
            journal.open(NAMESPACES)
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertLess(sizes[-1], 9_000_000)

    def test_write_ahead(self) -> None:
        """What SQLite writes ahead is bounded too."""
        journal = self.opened()
        for n in range(1, 300):
            journal.record(ONE, C1, 0, n, [long_event(n, 100_000)])
        written = self.path.with_name("journal-wal").stat().st_size
        self.assertLess(written, 2 * 2**20)
        self.assertLess(self.path.stat().st_size, MAX_CONTAINER_BYTES * 1.5)
