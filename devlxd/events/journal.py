# -*- test-case-name: tests.events.test_journal -*-
"""The journal, in SQLite: the last snapshot and events of each container."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from operator import itemgetter
from typing import Any

from zope.interface import implementer

from devlxd.events.journal_encoding import (
    ChangeEncoder,
    EventRow,
    decoded_container,
    decoded_metadata,
)
from devlxd.events.journal_file import JournalFile
from devlxd.events.journal_integrity import checksum_of, verify
from devlxd.events.journal_limits import JournalLimits
from devlxd.events.journal_schema import FACTS
from devlxd.interfaces import IJournal
from devlxd.limits import CurrentLimits
from devlxd.model import Container, Event
from devlxd.sqlite_files import MEMORY

#: The maximum number of events that `IJournal.since` returns.
MAX_ROWS = 256

_RECORD = f"""
    INSERT INTO incarnations ({FACTS}, checksum, complete_since, document)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (number) DO UPDATE SET
        document = excluded.document,
        document_checksum = excluded.document_checksum,
        checksum = excluded.checksum,
        last_timestamp = excluded.last_timestamp
"""

_SINCE = """
    SELECT timestamp, type, checksum, metadata FROM events INDEXED BY events_by_type
    WHERE incarnation = ? AND type = ? AND timestamp > ? ORDER BY timestamp
"""


@implementer(IJournal)
class SQLiteJournal:
    """A journal in an SQLite file.

    If the process is killed, no event is lost. If the host crashes, events may be
    missing, but then its containers restart, too. A damaged file is replaced by a new
    one, after it was renamed: the date and the time are added to its name.

    :param path: the path of the file; default: ``:memory:``, which `close` discards.
    :param limits: how many events are kept, and of which size; default: the usual
        limits. The oldest events of a container are deleted when it exceeds one of its
        limits by 200 events or 1 MiB. Beyond the size for all containers, the oldest
        events of the container with the most bytes are deleted.
    """

    def __init__(self, path: str = MEMORY, limits: CurrentLimits | None = None) -> None:
        limits = limits or CurrentLimits()
        self._limits = JournalLimits(limits)
        self._encoder = ChangeEncoder(limits)
        self._file = JournalFile(path, self._limits.load)

    def check(self) -> None:
        """Check that the file is not locked, and not written by a newer devlxd.

        :raises JournalLockedError: when another process uses it.
        :raises JournalVersionError: when a newer devlxd has written it.
        """
        self._file.check()

    def size(self) -> int:
        """See `IJournal.size`."""
        return self._file.size()

    def open(self, namespaces: Collection[str]) -> None:
        """See `IJournal.open`.

        :raises JournalLockedError: when another process uses the file.
        :raises JournalVersionError: when a newer devlxd has written it.
        :raises JournalError: when the file cannot be used for another reason.
        """
        if not self._file.is_open:
            self._encoder.namespaces = tuple(namespaces)
            self._file.open(namespaces)

    def close(self) -> None:
        """See `IJournal.close`."""
        self._file.close()
        self._encoder.clear()

    def set_complete(self, complete: bool) -> None:
        """See `IJournal.set_complete`."""
        self._file.set_complete(complete)

    def names(self) -> Mapping[str, int]:
        """See `IJournal.names`."""
        with self._file.reported():
            return {name: number for number, name, *_ in self._all()}

    def incarnations(self) -> Collection[int]:
        """See `IJournal.incarnations`."""
        with self._file.reported():
            rows = self._file.connection.execute("SELECT number FROM incarnations")
            return {number for (number,) in rows}

    def latest(self) -> int:
        """See `IJournal.latest`."""
        with self._file.reported():
            return max((timestamp for _, _, timestamp, _ in self._all()), default=0)

    def last(self, incarnation: int) -> tuple[Container, int] | None:
        """See `IJournal.last`."""
        with self._file.reported():
            row = self._row(f"checksum, document, {FACTS}", incarnation)
            if row is None:
                return None
            checksum, document, *facts = row
            _, name, timestamp, document_checksum = facts
            verify(checksum, *facts)
            verify(document_checksum, data=document)
            return decoded_container(name, document), timestamp

    def prepare(self, container: Container, events: Sequence[Event]) -> Iterator[None]:
        """See `IJournal.prepare`."""
        return self._encoder.prepare(container, events)

    def record(
        self,
        incarnation: int,
        container: Container,
        since: int,
        timestamp: int,
        events: Sequence[Event],
    ) -> None:
        """See `IJournal.record`."""
        change = self._encoder.pop(container, events)
        document_checksum = checksum_of(data=change.document)
        facts = (incarnation, container.name, timestamp, document_checksum)
        row = (*facts, checksum_of(*facts), since, change.document)
        with self._transaction() as connection:
            connection.execute(_RECORD, row)
            if events:
                self._insert(connection, incarnation, change.rows)
                if len(change.rows) < len(events):
                    last_omitted = events[-len(change.rows) - 1].timestamp
                    self._limits.delete_until(connection, incarnation, last_omitted)
                self._limits.prune(connection, incarnation)

    def remove(self, incarnation: int) -> None:
        """See `IJournal.remove`."""
        with self._transaction() as connection:
            (size,) = self._row("bytes", incarnation) or (0,)
            self._limits.count(connection, incarnation, 0, -size)
            for statement in (
                "DELETE FROM events WHERE incarnation = ?",
                "DELETE FROM incarnations WHERE number = ?",
            ):
                connection.execute(statement, (incarnation,))

    def since(
        self, incarnation: int, timestamp: int, types: Collection[str], max_bytes: int
    ) -> tuple[int | None, Sequence[Event], bool]:
        """See `IJournal.since`."""
        with self._file.reported(), ExitStack() as stack:
            row = self._row("name, complete_since", incarnation)
            if row is None:
                return None, [], True
            name, complete_since = row
            execute = self._file.connection.execute
            rows = [
                stack.enter_context(
                    closing(execute(_SINCE, (incarnation, kind, timestamp)))
                )
                for kind in types
            ]
            events: list[Event] = []
            for at, kind, checksum, metadata in heapq.merge(*rows, key=itemgetter(0)):
                verify(checksum, at, kind, data=metadata)
                max_bytes -= len(metadata)
                if events and (max_bytes < 0 or len(events) == MAX_ROWS):
                    return complete_since, events, False
                events.append(Event(name, kind, at, decoded_metadata(metadata)))
            return complete_since, events, True

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with (
            self._file.reported(),
            self._limits.restored_on_failure(),
            self._file.transaction() as connection,
        ):
            yield connection

    def _insert(
        self, connection: sqlite3.Connection, incarnation: int, rows: Sequence[EventRow]
    ) -> None:
        connection.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
            [(incarnation, *row) for row in reversed(rows)],
        )
        size = sum(len(metadata) for *_, metadata in rows)
        self._limits.count(connection, incarnation, len(rows), size)

    def _all(self) -> Iterator[tuple[int, str, int, int]]:
        """Yield the `FACTS` of all incarnations, the oldest first."""
        for checksum, *facts in self._file.connection.execute(
            f"SELECT checksum, {FACTS} FROM incarnations ORDER BY id"
        ):
            number, name, timestamp, document_checksum = facts
            verify(checksum, *facts)
            yield number, name, timestamp, document_checksum

    def _row(self, columns: str, incarnation: int) -> tuple[Any, ...] | None:
        select = f"SELECT {columns} FROM incarnations WHERE number = ?"
        row: tuple[Any, ...] | None
        row = self._file.connection.execute(select, (incarnation,)).fetchone()
        return row
