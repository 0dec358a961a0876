"""Tests of `devlxd.events.journal`: contracts, files, and limits."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.events.journal import MAX_ROWS, SQLiteJournal
from devlxd.interfaces import JournalError, JournalLockedError
from devlxd.testing.contracts.journal import (
    C1,
    C2,
    NAMESPACES,
    ONE,
    RECORDED,
    TWO,
    TYPES,
    DurableJournalContract,
    JournalContract,
    make_event,
)
from tests.default_limits import KEPT_EVENTS, MAX_CONTAINER_BYTES
from tests.events.journals import JournalFileTestCase, long_event


class MemoryJournalTests(JournalContract, SynchronousTestCase):
    """The contract of `IJournal`, run on a journal in memory."""

    kept = KEPT_EVENTS

    def make_journal(self) -> SQLiteJournal:
        """See `JournalContract.make_journal`."""
        return SQLiteJournal()


class FileJournalTests(DurableJournalContract, SynchronousTestCase):
    """The contract of a durable journal, run on a journal in a file."""

    kept = KEPT_EVENTS

    def make_journal(self) -> SQLiteJournal:
        """See `JournalContract.make_journal`."""
        self.path = Path(tempfile.mkdtemp(dir=".")) / "journal"
        return SQLiteJournal(str(self.path))

    def reopen(self, namespaces: Sequence[str] = NAMESPACES) -> None:
        """See `DurableJournalContract.reopen`."""
        self.journal.close()
        self.journal = SQLiteJournal(str(self.path))
        self.journal.open(namespaces)
        self.addCleanup(self.journal.close)


class SQLiteJournalTests(JournalFileTestCase):
    """The behaviour of a journal in a file that is not part of the contract."""

    def test_one_at_a_time(self) -> None:
        """A file that another journal has open is neither read nor changed."""
        one = self.open_journal()
        for _ in range(2):
            self.assertRaises(JournalLockedError, self.open_journal)
        other = SQLiteJournal(str(self.path))
        self.assertRaises(JournalLockedError, other.check)
        other.set_complete(False)
        one.record(ONE, C1, 5, 5, [])
        one.close()
        other.check()
        self.assertEqual(self.since(self.open_journal()), (5, []))

    def test_missing_directory(self) -> None:
        """The error contains the path of a file that cannot be created."""
        self.path = self.path / "none" / "journal"
        error = self.assertRaises(JournalError, self.open_journal)
        self.assertIn(f"{self.path}: No such file", str(error))
        SQLiteJournal(str(self.path)).check()

    def test_private(self) -> None:
        """Other users may not read the file."""
        self.open_journal().set_complete(False)
        self.assertEqual(self.path.stat().st_mode & 0o077, 0)

    def test_incomplete(self) -> None:
        """An incomplete journal is emptied when it is opened, and this is logged."""
        for complete in (True, False):
            journal = self.open_journal()
            journal.record(ONE, C1, 5, 5, [])
            journal.set_complete(False)
            journal.set_complete(complete)
            journal.close()
            with capturedLogs() as logged:
                journal = self.open_journal()
            self.assertEqual(self.since(journal), (5 if complete else None, []))
            self.assertEqual(len(logged), not complete)
            journal.close()

    def test_check_reads_the_version(self) -> None:
        """`check` reads only the version of the file, and not its tables."""
        journal = self.open_journal()
        journal.record(ONE, C1, 4, 5, [make_event(5)])
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

    def test_prepared(self) -> None:
        """A large snapshot is encoded in steps of less than 100 KB."""
        written = 0
        dumps = json.dumps

        def counting(value: object) -> str:
            nonlocal written
            text = dumps(value)
            written += len(text)
            return text

        large = evolve(
            RECORDED,
            config={f"user.{n}": str(n) for n in range(10_000)},
            devices={f"d{n}": {"type": "nic"} for n in range(10_000)},
        )
        journal = self.open_journal()
        self.patch(json, "dumps", counting)
        before = steps = 0
        for _ in journal.prepare(large, ()):
            self.assertLess(written - before, 100_000)
            before = written
            steps += 1
        self.assertGreater(steps, 5)
        journal.record(ONE, large, 4, 5, ())
        self.assertEqual(journal.last(ONE), (large, 5))

    def test_prepared_events(self) -> None:
        """Large events are encoded in steps, and only those that are kept."""
        journal = self.open_journal()
        events = [long_event(n, 100_000) for n in range(300)]
        steps = sum(1 for _ in journal.prepare(C1, events))
        self.assertGreater(steps, MAX_CONTAINER_BYTES // 100_000 // 4)
        self.assertLess(steps, MAX_CONTAINER_BYTES // 100_000)
        small = [make_event(n) for n in range(2000)]
        self.assertEqual(sum(1 for _ in journal.prepare(C1, small)), KEPT_EVENTS // 128)

    def test_bounded_work(self) -> None:
        """`since` reads a limited number of events."""
        journal = self.open_journal()
        events = [make_event(n, kind="x" if n < 900 else "y") for n in range(1000)]
        journal.record(ONE, C1, 0, 999, events)
        _, found, is_all = journal.since(ONE, 0, ["x", "y"], 10**6)
        self.assertEqual((len(found), is_all), (MAX_ROWS, False))
        self.assertEqual(found[-1].timestamp, MAX_ROWS)


class LimitTests(JournalFileTestCase):
    """The limits on the size of a journal."""

    def test_count(self) -> None:
        """Between `KEPT_EVENTS` and twice as many small events are kept."""
        journal = self.open_journal()
        journal.record(ONE, C1, 1, 1, [])
        for n in range(2, 3 * KEPT_EVENTS + 2):
            journal.record(ONE, C1, 1, n, [make_event(n)])
        complete_since, found = self.all_since(journal)
        self.assertTrue(KEPT_EVENTS <= len(found) < 2 * KEPT_EVENTS)
        self.assertEqual(found[0].timestamp, (complete_since or 0) + 1)
        self.assertEqual(found[-1], make_event(3 * KEPT_EVENTS + 1))

    def test_huge_change(self) -> None:
        """Exactly `KEPT_EVENTS` events of a huge change are kept."""
        journal = self.open_journal()
        journal.record(ONE, C1, 1, 2, [make_event(2)])
        events = [make_event(n) for n in range(3, 5 * KEPT_EVENTS)]
        journal.record(ONE, C1, 2, events[-1].timestamp, events)
        self.assertEqual(
            self.all_since(journal),
            (events[-KEPT_EVENTS - 1].timestamp, events[-KEPT_EVENTS:]),
        )

    def test_container(self) -> None:
        """The newest events of each container are kept, up to a total size."""
        journal = self.open_journal(container_journal_bytes=2_000_000)
        for n in range(1, 200):
            journal.record(ONE, C1, 0, n, [long_event(n, 100_000)])
            journal.record(TWO, C2, 0, n, [make_event(n, "c2")])
        complete_since, events, _ = journal.since(ONE, 0, TYPES, 10**9)
        self.assertEqual(events[0].timestamp, (complete_since or 0) + 1)
        self.assertEqual(events[-1].timestamp, 199)
        self.assertTrue(20 <= len(events) <= 31)
        self.assertEqual(len(journal.since(TWO, 0, TYPES, 10**9)[1]), 199)

    def test_total(self) -> None:
        """Beyond the total size, events of the largest container are deleted."""
        journal = self.open_journal(journal_bytes=3_000_000)
        journal.record(TWO, C2, 0, 1, [make_event(1, "c2")])
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
        """An event that is larger than the limit for its container is not kept."""
        journal = self.open_journal(container_journal_bytes=1000)
        journal.record(ONE, C1, 0, 1, [long_event(1, 2000)])
        self.assertEqual(self.since(journal), (1, []))
        journal.record(ONE, C1, 1, 3, [make_event(2), make_event(3)])
        self.assertEqual(self.since(journal), (1, [make_event(2), make_event(3)]))

    def test_file(self) -> None:
        """The file shrinks in steps when containers are removed."""
        journal = self.open_journal()
        for number in (1, 2, 3):
            journal.record(number, C1, 0, 1, [long_event(1, 5_000_000)])
        for number in (1, 2):
            journal.remove(number)
        sizes = []
        for n in range(20):
            journal.record(3, C1, 0, 2 + n, [make_event(2 + n)])
            journal.close()
            sizes.append(self.path.stat().st_size)
            journal.open(NAMESPACES)
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertLess(sizes[-1], 9_000_000)

    def test_write_ahead(self) -> None:
        """The size of the write-ahead log of SQLite is limited, too."""
        journal = self.open_journal()
        for n in range(1, 300):
            journal.record(ONE, C1, 0, n, [long_event(n, 100_000)])
        written = self.path.with_name("journal-wal").stat().st_size
        self.assertLess(written, 2 * 2**20)
        self.assertLess(self.path.stat().st_size, MAX_CONTAINER_BYTES * 1.5)
