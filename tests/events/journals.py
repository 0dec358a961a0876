"""Helpers of tests of journals: a journal in a file, and long events."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from devlxd.events.journal import SQLiteJournal
from devlxd.model import Event
from devlxd.testing.contracts.journal import NAMESPACES, ONE, TYPES, make_event
from tests.default_limits import limits


def long_event(timestamp: int, size: int) -> Event:
    """Return an event of ``size`` bytes."""
    value = "x" * (size - len('{"value":""}'))
    return evolve(make_event(timestamp), metadata={"value": value})


class JournalFileTestCase(SynchronousTestCase):
    """A base class with the path of a file for a journal."""

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`."""
        super().setUp()
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute() / "journal"

    def open_journal(self, **values: int) -> SQLiteJournal:
        """Open a journal in the file."""
        journal = SQLiteJournal(str(self.path), limits(**values))
        journal.open(NAMESPACES)
        self.addCleanup(journal.close)
        return journal

    def since(self, journal: SQLiteJournal) -> tuple[int | None, Sequence[Event]]:
        """Return the time after which no event is missing, and the first events."""
        return journal.since(ONE, 0, TYPES, 10**6)[:2]

    def all_since(self, journal: SQLiteJournal) -> tuple[int | None, Sequence[Event]]:
        """Return the time after which no event is missing, and all events."""
        found: list[Event] = []
        is_all = False
        while not is_all:
            since = found[-1].timestamp if found else 0
            complete_since, events, is_all = journal.since(ONE, since, TYPES, 10**6)
            found += events
        return complete_since, found
