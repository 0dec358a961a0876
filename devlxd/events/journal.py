# -*- test-case-name: tests.events.test_journal -*-
"""What is remembered: the last snapshot of each container, its last events."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from zope.interface import implementer

from devlxd.interfaces import IJournal
from devlxd.model import Container, Event

#: How many events of each container are kept, at least.
KEPT = 1000


class JournalError(Exception):
    """A journal that cannot be used; the text says why."""


_SCHEMA = """
    CREATE TABLE IF NOT EXISTS containers (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        document TEXT NOT NULL,
        complete_since INTEGER NOT NULL,
        last_timestamp INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS events (
        container INTEGER NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
        timestamp INTEGER NOT NULL,
        type TEXT NOT NULL,
        text BLOB NOT NULL,
        PRIMARY KEY (container, timestamp)
    ) WITHOUT ROWID;
"""

#: A path that is none.
_MEMORY = ":memory:"

_PRAGMAS = (
    # Not shared: what is in it is one process's memory.
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    # Nothing is forced to the disk, which could take long: when the host goes
    # down its guests do too, and have nothing to catch up with.
    "synchronous = OFF",
)

#: How many events more than are kept may pile up before some are deleted.
_SLACK = 200


@implementer(IJournal)
class SQLiteJournal:
    """A journal in an SQLite file.

    A process that is killed loses nothing of it; a host that loses its power
    may, as do its guests, who begin anew.

    :param path: of the file; ``:memory:`` for one that nobody keeps.
    """

    def __init__(self, path: str = _MEMORY) -> None:
        self._path = path

    def open(self) -> None:
        """See `IJournal.open`.

        :raises JournalError: when the file cannot be used.
        """
        self._counts: Counter[int] = Counter()
        try:
            self._make_private()
            self._db = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise JournalError(f"{self._path}: {reason}") from error

    def _make_private(self) -> None:
        """Make the file, if need be, for nobody else to read."""
        if self._path != _MEMORY:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def close(self) -> None:
        """See `IJournal.close`."""
        self._db.close()

    def last(self, container: str) -> Container | None:
        """See `IJournal.last`."""
        row = self._row("document", container)
        return _container_of(container, row[0]) if row else None

    def last_timestamp(self, container: str) -> int:
        """See `IJournal.last_timestamp`."""
        row = self._row("last_timestamp", container)
        return int(row[0]) if row else 0

    def record(
        self, container: Container, timestamp: int, events: Sequence[Event]
    ) -> None:
        """See `IJournal.record`.

        :raises JournalError: when nothing could be written.
        """
        try:
            with self._transaction():
                self._record(container, timestamp, events)
        except sqlite3.Error as error:
            raise JournalError(str(error)) from error

    def _record(
        self, container: Container, timestamp: int, events: Sequence[Event]
    ) -> None:
        self._db.execute(
            "INSERT INTO containers "
            "(name, document, complete_since, last_timestamp) "
            "VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
            "document = excluded.document, last_timestamp = excluded.last_timestamp",
            (
                container.name,
                _document_of(container),
                timestamp,
                timestamp,
            ),
        )
        if events:
            (number,) = self._row("id", container.name) or (0,)
            self._db.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?)",
                [(number, e.timestamp, e.type, e.text) for e in events],
            )
            self._prune(number, len(events))

    def _prune(self, number: int, added: int) -> None:
        if number not in self._counts:
            count = "SELECT count(*) FROM events WHERE container = ?"
            (self._counts[number],) = self._db.execute(count, (number,)).fetchone()
        else:
            self._counts[number] += added
        if self._counts[number] <= KEPT + _SLACK:
            return
        (oldest,) = self._db.execute(
            "SELECT timestamp FROM events WHERE container = ? "
            "ORDER BY timestamp DESC LIMIT 1 OFFSET ?",
            (number, KEPT),
        ).fetchone()
        self._db.execute(
            "DELETE FROM events WHERE container = ? AND timestamp <= ?",
            (number, oldest),
        )
        self._db.execute(
            "UPDATE containers SET complete_since = ? WHERE id = ?", (oldest, number)
        )
        self._counts[number] = KEPT

    def forget(self, container: str) -> None:
        """See `IJournal.forget`.

        :raises JournalError: when nothing could be written.
        """
        row = self._row("id", container)
        if row is None:
            return
        self._counts.pop(row[0], None)
        try:
            with self._transaction():
                self._db.execute("DELETE FROM events WHERE container = ?", row)
                self._db.execute("DELETE FROM containers WHERE id = ?", row)
        except sqlite3.Error as error:
            raise JournalError(str(error)) from error

    def rename(self, container: str, name: str) -> None:
        """See `IJournal.rename`.

        :raises JournalError: when nothing could be written.
        """
        update = "UPDATE containers SET name = ? WHERE name = ?"
        try:
            self._db.execute(update, (name, container))
        except sqlite3.Error as error:
            raise JournalError(str(error)) from error

    def names(self) -> Collection[str]:
        """See `IJournal.names`."""
        return [name for (name,) in self._db.execute("SELECT name FROM containers")]

    def since(
        self, container: str, timestamp: int, most: int
    ) -> tuple[int, Sequence[Event]]:
        """See `IJournal.since`."""
        row = self._row("id, complete_since", container)
        if row is None:
            return 0, []
        number, complete_since = row
        found = self._db.execute(
            "SELECT timestamp, type, text FROM events "
            "WHERE container = ? AND timestamp > ? ORDER BY timestamp",
            (number, timestamp),
        )
        events: list[Event] = []
        for at, kind, text in found:
            most -= len(text)
            if events and most < 0:
                break
            events.append(Event(container, kind, at, text))
        return complete_since, events

    def _row(self, columns: str, container: str) -> tuple[Any, ...] | None:
        select = f"SELECT {columns} FROM containers WHERE name = ?"
        row: tuple[Any, ...] | None = self._db.execute(select, (container,)).fetchone()
        return row

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _document_of(container: Container) -> str:
    """Write down what events tell of; the rest may be secret, and is of no use."""
    config = {
        key: value
        for key, value in container.config.items()
        if key.startswith("user.") or key == "volatile.uuid"
    }
    devices = {name: dict(device) for name, device in container.devices.items()}
    return json.dumps({"config": config, "devices": devices, "id": container.id})


def _container_of(name: str, document: str) -> Container:
    return Container(name, **json.loads(document))
