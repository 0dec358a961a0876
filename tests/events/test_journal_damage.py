"""Tests of `devlxd.events.journal_integrity`: damaged files."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import evolve
from twisted.logger import capturedLogs, formatEvent

from devlxd.events.journal import SQLiteJournal
from devlxd.interfaces import JournalError
from devlxd.testing.contracts.journal import C1, ONE, TYPES, make_event
from tests.events.journals import JournalFileTestCase


def overwrite(path: Path, part: float) -> None:
    """Overwrite 2 KiB of a file.

    :param part: the position, from 0 for the beginning of the file to 1 for its end.
    """
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(int((size - 2048) * part))
        file.write(b"nonsense" * 256)


def overwrite_all(path: Path) -> None:
    """Overwrite the whole content of a file with text."""
    path.write_text("x" * 5000)


def truncate(path: Path) -> None:
    """Truncate a file to half its length."""
    os.truncate(path, path.stat().st_size // 2)


def replace(path: Path) -> None:
    """Replace a file by a directory."""
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "header": partial(overwrite, part=0),
    "middle": partial(overwrite, part=0.5),
    "tail": partial(overwrite, part=1),
    "truncated": truncate,
    "all": overwrite_all,
    "directory": replace,
}


def text_of(timestamp: int) -> str:
    """Return the value in the long event with this timestamp."""
    return f"{1000 + timestamp}" * 5000


class DamageTests(JournalFileTestCase):
    """A journal in a damaged file."""

    def fill_journal(self) -> SQLiteJournal:
        """Open a journal, and record long events."""
        journal = self.open_journal()
        for n in range(1, 200):
            journal.record(
                ONE, C1, 0, n, [evolve(make_event(n), metadata={"value": text_of(n)})]
            )
        return journal

    def execute(self, statement: str) -> None:
        """Change the content of the file with SQLite."""
        with contextlib.closing(sqlite3.connect(self.path)) as database, database:
            database.execute(statement)

    def renamed_files(self) -> list[str]:
        """Return the names of damaged files that were renamed."""
        names = os.listdir(self.path.parent)
        return [name for name in names if re.fullmatch(r"journal\.damaged-\w+", name)]

    def test_found_at_the_start(self) -> None:
        """A damaged file is renamed, with the date in its name, and replaced."""
        for name, damage in DAMAGES.items():
            self.setUp()
            self.fill_journal().close()
            damage(self.path)
            with capturedLogs() as logged:
                journal = self.open_journal()
                if name == "tail":
                    # Detected by a row's checksum, when the row is read.
                    self.assertRaises(JournalError, self.read_all, journal)
            self.assertEqual(len(logged), 1, name)
            self.assertRegex(
                formatEvent(logged[0]) or "", r"to \S+damaged-\d{8}T\d{6},"
            )
            self.assertEqual(len(self.renamed_files()), 1, name)
            self.assertEqual(self.since(journal), (None, []), name)
            journal.record(ONE, C1, 5, 5, [])
            journal.close()
            self.assertEqual(self.since(self.open_journal()), (5, []), name)

    def test_found_later(self) -> None:
        """A file whose damage is detected while it is used is replaced, too."""
        for name in ("tail", "truncated"):
            self.setUp()
            self.fill_journal().close()
            journal = self.open_journal()
            # SQLite then reads the damaged file, and not its cache.
            journal._file.connection.execute("PRAGMA cache_size = 1")
            DAMAGES[name](self.path)
            with capturedLogs() as logged:
                self.assertRaises(JournalError, self.read_all, journal)
            self.assertEqual(len(logged), 1, name)
            self.assertEqual(len(self.renamed_files()), 1, name)
            self.assertEqual(journal.names(), {}, name)

    def read_all(self, journal: SQLiteJournal) -> None:
        """Read all events, and check that they were recorded."""
        since, is_all = 0, False
        while not is_all:
            _, events, is_all = journal.since(ONE, since, TYPES, 1)
            for found in events:
                since = found.timestamp
                self.assertEqual(found.metadata["value"], text_of(since))
        journal.last(ONE)

    def test_changed_values(self) -> None:
        """Values that another program has changed are not returned."""
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
            self.fill_journal().close()
            self.execute(statement)
            with capturedLogs(), contextlib.suppress(JournalError):
                self.read_all(self.open_journal())
            self.assertEqual(len(self.renamed_files()), 1, statement)

    def test_wrong_lengths(self) -> None:
        """An impossible total size is treated as damage, and causes no endless loop."""
        self.fill_journal().close()
        self.execute("UPDATE incarnations SET bytes = bytes + (1 << 40)")
        journal = self.open_journal()
        with capturedLogs():
            self.assertRaises(
                JournalError, journal.record, ONE, C1, 0, 500, [make_event(500)]
            )
        self.assertEqual(len(self.renamed_files()), 1)
        journal.record(ONE, C1, 5, 6, [make_event(6)])
        self.assertEqual(self.since(journal), (5, [make_event(6)]))

    def test_wrong_timestamps(self) -> None:
        """A timestamp that another program has changed is detected as damage."""
        for method in (SQLiteJournal.latest, SQLiteJournal.names):
            self.setUp()
            self.fill_journal().close()
            self.execute("UPDATE incarnations SET last_timestamp = (1 << 62)")
            journal = self.open_journal()
            with capturedLogs():
                self.assertRaises(JournalError, method, journal)
            self.assertEqual(journal.latest(), 0)

    def test_too_large(self) -> None:
        """A number that SQLite cannot store is treated as damage."""
        journal = self.fill_journal()
        with capturedLogs():
            self.assertRaises(
                JournalError, journal.record, ONE, C1, 0, 2**63, [make_event(2**63)]
            )
        self.assertEqual(len(self.renamed_files()), 1)
