"""Contract tests of `IJournal`, run on a file and in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.events.journal import KEPT, JournalError, SQLiteJournal
from devlxd.interfaces import IJournal
from devlxd.model import Container, Event

C1 = Container(
    "c1",
    {"user.a": "1", "volatile.uuid": "u", "limits.cpu": "2"},
    {"eth0": {"type": "nic"}},
    id="i",
)

#: What is remembered of it.
REMEMBERED = evolve(C1, config={"user.a": "1", "volatile.uuid": "u"})


def event(timestamp: int, name: str = "c1") -> Event:
    """Make an event."""
    return Event(name, "config", timestamp, b"%d" % timestamp)


def file_journal() -> SQLiteJournal:
    """Make a journal in a file."""
    return SQLiteJournal(str(Path(tempfile.mkdtemp(dir=".")) / "journal"))


def journal_tests(make: Callable[[], IJournal]) -> type[SynchronousTestCase]:
    """Make the tests of what every journal promises."""

    class JournalTests(SynchronousTestCase):
        """The contract of `IJournal`."""

        def setUp(self) -> None:
            self.journal = make()
            self.journal.open()
            self.addCleanup(self.journal.close)

        def test_interface(self) -> None:
            """It provides the interface."""
            self.assertTrue(verifyObject(IJournal, self.journal))

        def test_unknown(self) -> None:
            """Of a container that it does not know it knows nothing."""
            self.assertIsNone(self.journal.last("c1"))
            self.assertEqual(self.journal.last_timestamp("c1"), 0)
            self.assertEqual(self.journal.since("c1", 0, 10**6), (0, []))
            self.assertEqual(list(self.journal.names()), [])
            self.journal.forget("c1")

        def test_last(self) -> None:
            """It remembers the last snapshot, of what events tell of."""
            self.journal.record(C1, 5, [])
            self.assertEqual(self.journal.last("c1"), REMEMBERED)
            self.journal.record(evolve(C1, config={}), 7, [event(6), event(7)])
            self.assertEqual(self.journal.last("c1"), evolve(C1, config={}))
            self.assertEqual(self.journal.last_timestamp("c1"), 7)
            self.assertEqual(list(self.journal.names()), ["c1"])

        def test_since(self) -> None:
            """It tells what came after a time, and since when it knows all."""
            self.journal.record(C1, 5, [])
            self.journal.record(C1, 8, [event(6), event(7), event(8)])
            self.journal.record(evolve(C1, name="c2"), 6, [event(6, "c2")])
            for since, expected in ((0, [6, 7, 8]), (6, [7, 8]), (8, []), (9, [])):
                complete_since, events = self.journal.since("c1", since, 10**6)
                self.assertEqual(complete_since, 5)
                self.assertEqual(list(events), [event(n) for n in expected])
            for most, number in ((0, 1), (1, 1), (2, 2), (3, 3), (9, 3)):
                _, events = self.journal.since("c1", 0, most)
                self.assertEqual(len(events), number)

        def test_rename(self) -> None:
            """What is remembered can be put away under another name."""
            self.journal.record(C1, 5, [event(5)])
            self.journal.rename("c1", "/c1")
            self.assertIsNone(self.journal.last("c1"))
            self.assertEqual(len(self.journal.since("/c1", 0, 9)[1]), 1)

        def test_kept(self) -> None:
            """Of very many events it keeps the last, and says what it lacks."""
            self.journal.record(C1, 1, [])
            for n in range(2, 3 * KEPT + 2):
                self.journal.record(C1, n, [event(n)])
            complete_since, events = self.journal.since("c1", 0, 10**6)
            self.assertGreaterEqual(len(events), KEPT)
            self.assertLess(len(events), 2 * KEPT)
            self.assertEqual(events[0].timestamp, complete_since + 1)
            self.assertEqual(events[-1], event(3 * KEPT + 1))

        def test_forget(self) -> None:
            """What it has forgotten it does not know."""
            self.journal.record(C1, 1, [event(1)])
            self.journal.record(evolve(C1, name="c2"), 1, [event(1, "c2")])
            self.journal.forget("c1")
            self.assertIsNone(self.journal.last("c1"))
            self.assertEqual(self.journal.since("c1", 0, 9), (0, []))
            self.journal.record(C1, 7, [])
            self.assertEqual(self.journal.since("c1", 0, 9), (7, []))
            self.assertEqual(len(self.journal.since("c2", 0, 9)[1]), 1)

        def test_both_or_nothing(self) -> None:
            """What could not be recorded whole was not recorded at all."""
            self.journal.record(C1, 5, [event(5)])
            changed = evolve(C1, config={})
            self.assertRaises(
                JournalError, self.journal.record, changed, 6, [event(6), event(5)]
            )
            self.assertEqual(self.journal.last("c1"), REMEMBERED)
            self.assertEqual(self.journal.last_timestamp("c1"), 5)

    return JournalTests


FileJournalTests = journal_tests(file_journal)
MemoryJournalTests = journal_tests(SQLiteJournal)


class SQLiteJournalTests(SynchronousTestCase):
    """A journal in a file."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")) / "journal"

    def opened(self) -> SQLiteJournal:
        """Open a journal in the file."""
        journal = SQLiteJournal(str(self.path))
        journal.open()
        self.addCleanup(journal.close)
        return journal

    def test_outlives_its_process(self) -> None:
        """What was recorded is there when the file is opened again."""
        journal = self.opened()
        journal.record(C1, 5, [event(5)])
        journal.close()
        journal = self.opened()
        self.assertEqual(journal.last("c1"), REMEMBERED)
        self.assertEqual(journal.since("c1", 0, 9), (5, [event(5)]))

    def test_one_at_a_time(self) -> None:
        """A journal that another process uses is not used."""
        self.opened()
        error = self.assertRaises(JournalError, self.opened)
        self.assertIn("locked", str(error))

    def test_no_journal(self) -> None:
        """A file that is something else is named, and left alone."""
        self.path.write_text("x" * 5000)
        self.assertIn(
            "not a database", str(self.assertRaises(JournalError, self.opened))
        )
        self.assertEqual(self.path.read_text(), "x" * 5000)
        self.path = self.path / "none" / "journal"
        self.assertRaises(JournalError, self.opened)
