# -*- test-case-name: tests.events.test_journal -*-
"""What is remembered: the last snapshot of each container, its last events."""

from __future__ import annotations

import heapq
import json
import os
import sqlite3
import stat
import time
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import islice
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from attrs import frozen
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.compact_json import compact_json
from devlxd.interfaces import IJournal
from devlxd.model import Container, Event

#: How many events of each container are kept, at least, if they are not too long.
KEPT = 1000

#: How long the events that are kept may be, in bytes: of one container, and
#: altogether. The last snapshots of the containers, no longer than their
#: documents, come on top.
MAX_CONTAINER_BYTES = 8 * 1024 * 1024
MAX_BYTES = 256 * 1024 * 1024

#: How many events `IJournal.since` returns at most.
MAX_ROWS = 256


class JournalError(Exception):
    """A journal that cannot be used for now; the text says why."""


class JournalLockedError(JournalError):
    """Another process has it."""


class JournalReplacedError(JournalError):
    """It was damaged: a new one is begun, and the log has a line about it."""


class JournalVersionError(JournalError):
    """A newer devlxd has made it, and this one can't read it."""


class _DamagedError(Exception):
    """What is in the file is not what was written."""


class _UselessError(Exception):
    """What is in the file is of no use; the text says why."""


#: The version of the schema, and the schema. The newer incarnation of a name
#: has the greater id. What is short comes first in a row: SQLite reads no
#: further than it has to.
_VERSION = 2
_SCHEMA = f"""
    BEGIN;
    CREATE TABLE namespaces (namespace TEXT PRIMARY KEY);
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
        metadata BLOB NOT NULL,
        PRIMARY KEY (incarnation, timestamp)
    ) WITHOUT ROWID;
    CREATE INDEX events_by_type ON events (incarnation, type, timestamp);
    PRAGMA user_version = {_VERSION};
    COMMIT;
"""

#: From version 1, whose events are rendered messages, and only of keys in
#: ``user.``, to version 2. The messages themselves are changed between the two.
_BEGIN_MIGRATION = "ALTER TABLE events RENAME COLUMN text TO metadata"
_END_MIGRATION = (
    "UPDATE incarnations SET bytes = (SELECT ifnull(sum(length(metadata)), 0) "
    "FROM events WHERE incarnation = number)",
    "CREATE TABLE namespaces (namespace TEXT PRIMARY KEY)",
    "INSERT INTO namespaces VALUES ('user.')",
    "PRAGMA user_version = 2",
)

#: What the checksum of an incarnation covers. Not what is only counted.
_FACTS = "number, name, last_timestamp, document_checksum"

#: A path that is none.
_MEMORY = ":memory:"

_PRAGMAS = (
    # Before anything is written, or it comes too late.
    "auto_vacuum = INCREMENTAL",
    "journal_mode = WAL",
    "wal_autocheckpoint = 256",
    "journal_size_limit = 1048576",
    # Nothing is forced to the disk, which could take long: when the host goes
    # down its guests do too, and have nothing to catch up with.
    "synchronous = OFF",
)

#: By how much the bounds may be exceeded before something is deleted.
_SLACK = 200
_SLACK_BYTES = 1024 * 1024

#: How many free pages the file may have, and how many are given back at a time.
_FREE_PAGES = 512
_FREED_PAGES = 128

#: How many keys are written down in one piece, and how many pieces in one step:
#: more than a small snapshot has.
_PIECE = 400
_PIECES = 6

#: How many events are written down in one step, and how many bytes of them.
_EVENTS = 128
_EVENTS_BYTES = 256 * 1024

#: The file's sticky bit, which means nothing to the kernel. It says that there
#: are events that are not in the file. To set it takes no room on the disk.
_INCOMPLETE = stat.S_ISVTX


#: SQLITE_IOERR_SHORT_READ: what SQLite calls a truncated file from 3.46 on, at the
#: latest. Python has neither the name nor the code of an error before 3.11.
_SHORT_READ = 522


#: What it comes to when a value is not of the type, or the size, that was written.
_MISREAD = (KeyError, OverflowError, TypeError, ValueError)


def _is_damage(error: Exception) -> bool:
    if getattr(error, "sqlite_errorcode", None) == _SHORT_READ:
        return True
    if isinstance(error, sqlite3.OperationalError):
        # The schema, or a text, is not what was written.
        return str(error).startswith(("no such", "Could not decode"))
    # SQLITE_CORRUPT and SQLITE_NOTADB have no class of their own.
    damage = (_DamagedError, IsADirectoryError, *_MISREAD)
    return isinstance(error, damage) or type(error) is sqlite3.DatabaseError


#: An event as it is written: timestamp, type, checksum, metadata.
_Row = tuple[int, str, int, bytes]


@frozen
class _Prepared:
    """What is to be written of a snapshot and the events that led to it.

    :ivar rows: of the newest events, the newest first.
    """

    container: Container
    events: Sequence[Event]
    document: bytes
    rows: Sequence[_Row]


@implementer(IJournal)
class SQLiteJournal:
    """A journal in an SQLite file.

    A process that is killed loses nothing of it; a host that loses its power
    may, as do its guests, who begin anew. A file that is damaged is set aside
    under a name with the date, and a new one begun.

    :param path: of the file; ``:memory:`` for one that nobody keeps.
    :param container_bytes: how long the events of one container may be...
    :param all_bytes: ...and those of all; where there are most, the oldest are
        deleted.
    """

    _log = Logger()

    def __init__(
        self,
        path: str = _MEMORY,
        container_bytes: int = MAX_CONTAINER_BYTES,
        all_bytes: int = MAX_BYTES,
    ) -> None:
        self._path = path
        self._container_bytes = container_bytes
        self._all_bytes = all_bytes
        self._connection: sqlite3.Connection | None = None
        self._refused: JournalError | None = None
        self._is_complete = True
        self._bytes = 0
        self._namespaces: tuple[str, ...] = ()
        self._prepared: dict[int, _Prepared] = {}

    def check(self) -> None:
        """Look whether the file may be used; whether it can be is another matter.

        :raises JournalLockedError: when another process uses it.
        :raises JournalVersionError: when a newer devlxd has made it.
        """
        self._refused = None
        with suppress(JournalError), self._reported():
            self._make_private()
            with closing(self._connected()) as connection:
                self._version(connection)
        if self._refused is not None:
            raise self._refused

    def open(self, namespaces: Collection[str]) -> None:
        """See `IJournal.open`.

        :raises JournalLockedError: when another process uses the file.
        :raises JournalVersionError: when a newer devlxd has made it.
        :raises JournalError: when the file cannot be used for another reason.
        """
        if self._connection is None:
            self._namespaces = tuple(sorted(set(namespaces)))
            with self._reported():
                self._load()

    def _load(self) -> None:
        try:
            self._connect()
        except _UselessError as error:
            self._log.warn(
                "{path}: {why}: it is begun anew", path=self._path, why=error
            )
            self._move(None)
            self._connect()
        except Exception as error:
            if not _is_damage(error):
                raise
            self._replace(error)

    def _replace(self, error: Exception) -> None:
        """Put a damaged file where it is not in the way, and begin a new one."""
        self.close()
        aside = f"{self._path}.damaged-{time.strftime('%Y%m%dT%H%M%S')}"
        self._move(aside)
        self._log.error(
            "{path} is damaged ({reason}): it is {aside} now, and a new one is begun",
            path=self._path,
            reason=_reason_of(error),
            aside=aside,
        )
        self._connect()

    def _connect(self) -> None:
        self._refused = None
        self._is_complete = not self._make_private()
        with ExitStack() as stack:
            connection = stack.enter_context(closing(self._connected()))
            version = self._version(connection)
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            self._prepare(connection, version)
            self._bytes = _number(connection, "SELECT sum(bytes) FROM incarnations")
            self._connection = connection
            stack.pop_all()

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        # Not shared: what is in it is one process's memory.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        return connection

    def _make_private(self) -> bool:
        """Make the file, if need be, for nobody else to read.

        :return: whether it is marked as incomplete.
        """
        if self._path == _MEMORY:
            return False
        # Closed before SQLite opens it: its locks would go with ours.
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(file, "rb"):
            return bool(os.fstat(file).st_mode & _INCOMPLETE)

    def _version(self, connection: sqlite3.Connection) -> int:
        version = _number(connection, "PRAGMA user_version")
        if version > _VERSION:
            raise JournalVersionError(
                f"{self._path}: a newer devlxd has made it: its format is {version}, "
                f"this one's {_VERSION}"
            )
        return version

    def _prepare(self, connection: sqlite3.Connection, version: int) -> None:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise _DamagedError(found)
        is_empty = not _number(connection, "SELECT count(*) FROM sqlite_master")
        if version == 0 and not is_empty:
            raise _UselessError("an older devlxd has made it")
        if not self._is_complete:
            raise _UselessError("not everything could be written to it")
        if is_empty:
            connection.executescript(_SCHEMA)
            self._write_namespaces(connection)
        elif version == 1:
            self._migrate(connection)
        known = connection.execute("SELECT namespace FROM namespaces")
        if sorted(namespace for (namespace,) in known) != list(self._namespaces):
            raise _UselessError("its events are of other config keys")

    def _write_namespaces(self, connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO namespaces VALUES (?)",
            [(namespace,) for namespace in self._namespaces],
        )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring a file of version 1 up to date, wholly or not at all."""
        try:
            connection.execute("BEGIN")
            connection.execute(_BEGIN_MIGRATION)
            for (number,) in connection.execute(
                "SELECT number FROM incarnations"
            ).fetchall():
                _migrate_events(connection, number)
            for statement in _END_MIGRATION:
                connection.execute(statement)
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if _is_damage(error):
                raise
            # To try that again and again would keep others waiting.
            raise _UselessError(f"it cannot be brought up to date: {error}") from error

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Make a `JournalError` of what fails; replace a damaged file."""
        try:
            yield
        except JournalVersionError as error:
            self._refused = error
            raise
        except (OSError, sqlite3.Error, _DamagedError, *_MISREAD) as error:
            reason = f"{self._path}: {_reason_of(error)}"
            if "database is locked" in reason:
                self._refused = JournalLockedError(reason)
                raise self._refused from error
            if self._connection is not None and _is_damage(error):
                with self._reported():
                    self._replace(error)
                raise JournalReplacedError(reason) from error
            raise JournalError(reason) from error

    def _move(self, where: str | None) -> None:
        """Move the file, and what belongs to it; delete it if there is no where."""
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                if where is None:
                    os.unlink(self._path + suffix)
                else:
                    os.rename(self._path + suffix, where + suffix)

    def close(self) -> None:
        """See `IJournal.close`."""
        connection, self._connection = self._connection, None
        self._prepared.clear()
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError(f"{self._path}: not open")
        return self._connection

    def set_complete(self, complete: bool) -> None:
        """See `IJournal.set_complete`."""
        if complete != self._is_complete and self._refused is None:
            if self._path != _MEMORY:
                with suppress(OSError):
                    os.chmod(self._path, 0o600 if complete else 0o600 | _INCOMPLETE)
            self._is_complete = complete

    def names(self) -> Mapping[str, int]:
        """See `IJournal.names`."""
        with self._reported():
            return {name: number for number, name, *_ in self._all()}

    def incarnations(self) -> Collection[int]:
        """See `IJournal.incarnations`."""
        with self._reported():
            found = self._db.execute("SELECT number FROM incarnations")
            return {number for (number,) in found}

    def latest(self) -> int:
        """See `IJournal.latest`."""
        with self._reported():
            return max((timestamp for _, _, timestamp, _ in self._all()), default=0)

    def _all(self) -> Iterator[tuple[int, str, int, int]]:
        """Look at all incarnations, the oldest first: their `_FACTS`."""
        for checksum, *facts in self._db.execute(
            f"SELECT checksum, {_FACTS} FROM incarnations ORDER BY id"
        ):
            number, name, timestamp, document_checksum = facts
            _verify(checksum, *facts)
            yield number, name, timestamp, document_checksum

    def last(self, incarnation: int) -> tuple[Container, int] | None:
        """See `IJournal.last`."""
        with self._reported():
            row = self._row(f"checksum, document, {_FACTS}", incarnation)
            if row is None:
                return None
            checksum, document, *facts = row
            _, name, timestamp, document_checksum = facts
            _verify(checksum, *facts)
            _verify(document_checksum, data=document)
            return Container(name, **json.loads(document)), timestamp

    def prepare(self, container: Container, events: Sequence[Event]) -> Iterator[None]:
        """See `IJournal.prepare`."""
        pieces = []
        for number, piece in enumerate(
            _pieces_of(container, self._namespaces), start=1
        ):
            pieces.append(piece)
            if number % _PIECES == 0:
                yield
        rows: list[_Row] = []
        done = 0
        for size, row in self._rows_of(events):
            rows.append(row)
            if len(rows) % _EVENTS == 0 or size - done > _EVENTS_BYTES:
                done = size
                yield
        document = "".join(pieces).encode()
        self._prepared[id(container)] = _Prepared(container, events, document, rows)

    def _rows_of(self, events: Sequence[Event]) -> Iterator[tuple[int, _Row]]:
        """Write events down, the newest first, as many as would be kept.

        :return: how long those until here are, in bytes, and the row of each.
        """
        size = 0
        for event in events[: -KEPT - 1 : -1]:
            text = compact_json(event.metadata).encode()
            size += len(text)
            if size > self._container_bytes:
                return
            checksum = _checksum(event.timestamp, event.type, data=text)
            yield size, (event.timestamp, event.type, checksum, text)

    def _take_prepared(
        self, container: Container, events: Sequence[Event]
    ) -> _Prepared:
        prepared = self._prepared.pop(id(container), None)
        if prepared is None or prepared.events is not events:
            for _ in self.prepare(container, events):
                pass
            prepared = self._prepared.pop(id(container))
        return prepared

    def record(
        self,
        incarnation: int,
        container: Container,
        since: int,
        timestamp: int,
        events: Sequence[Event],
    ) -> None:
        """See `IJournal.record`.

        :raises JournalError: when nothing could be written.
        """
        prepared = self._take_prepared(container, events)
        document, rows = prepared.document, prepared.rows
        facts = incarnation, container.name, timestamp, _checksum(data=document)
        with self._transaction():
            self._db.execute(
                f"INSERT INTO incarnations ({_FACTS}, checksum, complete_since, "
                "document) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (number) DO UPDATE SET document = excluded.document, "
                "document_checksum = excluded.document_checksum, "
                "checksum = excluded.checksum, "
                "last_timestamp = excluded.last_timestamp",
                (*facts, _checksum(*facts), since, document),
            )
            if events:
                self._insert(incarnation, rows)
                if len(rows) < len(events):
                    cut = events[-len(rows) - 1].timestamp
                    self._delete_until(incarnation, cut)
                self._prune(incarnation)

    def _insert(self, incarnation: int, rows: Sequence[_Row]) -> None:
        self._db.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
            [(incarnation, *row) for row in reversed(rows)],
        )
        self._count(incarnation, len(rows), sum(len(row[-1]) for row in rows))

    def _count(self, incarnation: int, events: int, size: int) -> None:
        """Note that there are so many more, so many bytes longer."""
        self._db.execute(
            "UPDATE incarnations SET events = events + ?, bytes = bytes + ? "
            "WHERE number = ?",
            (events, size, incarnation),
        )
        self._bytes += size

    def _prune(self, incarnation: int) -> None:
        """Delete what is too much: of a container, then of those that have most."""
        count, size = self._row("events, bytes", incarnation) or (0, 0)
        if count > KEPT + _SLACK or size > self._container_bytes + _SLACK_BYTES:
            self._keep(incarnation, self._container_bytes)
        while (before := self._bytes) > self._all_bytes:
            most, size = self._db.execute(
                "SELECT number, bytes FROM incarnations ORDER BY bytes DESC LIMIT 1"
            ).fetchone()
            self._keep(most, size * 3 // 4)
            if self._bytes >= before:
                raise _DamagedError("the lengths are wrong")

    def _keep(self, incarnation: int, size: int) -> None:
        """Keep the newest events of a container, so many bytes of them."""
        lengths = self._db.execute(
            "SELECT timestamp, length(metadata) FROM events WHERE incarnation = ? "
            "ORDER BY timestamp DESC",
            (incarnation,),
        )
        with closing(lengths):
            for number, (timestamp, length) in enumerate(lengths):
                size -= length
                if number == KEPT or size < 0:
                    self._delete_until(incarnation, timestamp)
                    return

    def _delete_until(self, incarnation: int, timestamp: int) -> None:
        parameters = (incarnation, timestamp)
        count, size = self._db.execute(
            "SELECT count(*), ifnull(sum(length(metadata)), 0) FROM events "
            "WHERE incarnation = ? AND timestamp <= ?",
            parameters,
        ).fetchone()
        self._db.execute(
            "DELETE FROM events WHERE incarnation = ? AND timestamp <= ?", parameters
        )
        self._db.execute(
            "UPDATE incarnations SET complete_since = ? WHERE number = ?",
            (timestamp, incarnation),
        )
        self._count(incarnation, -count, -size)

    def forget(self, incarnation: int) -> None:
        """See `IJournal.forget`.

        :raises JournalError: when nothing could be written.
        """
        with self._transaction():
            (size,) = self._row("bytes", incarnation) or (0,)
            for statement in (
                "DELETE FROM events WHERE incarnation = ?",
                "DELETE FROM incarnations WHERE number = ?",
            ):
                self._db.execute(statement, (incarnation,))
            self._bytes -= size

    def since(
        self, incarnation: int, timestamp: int, types: Collection[str], most: int
    ) -> tuple[int | None, Sequence[Event], bool]:
        """See `IJournal.since`."""
        with self._reported(), ExitStack() as stack:
            row = self._row("name, complete_since", incarnation)
            if row is None:
                return None, [], True
            name, complete_since = row
            found = [
                stack.enter_context(closing(self._select(incarnation, kind, timestamp)))
                for kind in types
            ]
            events: list[Event] = []
            for at, kind, checksum, text in heapq.merge(*found, key=itemgetter(0)):
                _verify(checksum, at, kind, data=text)
                most -= len(text)
                if events and (most < 0 or len(events) == MAX_ROWS):
                    return complete_since, events, False
                events.append(Event(name, kind, at, _metadata_of(text)))
            return complete_since, events, True

    def _select(self, incarnation: int, kind: str, timestamp: int) -> sqlite3.Cursor:
        return self._db.execute(
            "SELECT timestamp, type, checksum, metadata FROM events "
            "INDEXED BY events_by_type "
            "WHERE incarnation = ? AND type = ? AND timestamp > ? "
            "ORDER BY timestamp",
            (incarnation, kind, timestamp),
        )

    def _row(self, columns: str, incarnation: int) -> tuple[Any, ...] | None:
        select = f"SELECT {columns} FROM incarnations WHERE number = ?"
        row: tuple[Any, ...] | None
        row = self._db.execute(select, (incarnation,)).fetchone()
        return row

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reported():
            before, connection = self._bytes, self._db
            connection.execute("BEGIN")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                self._bytes = before
                # SQLite has done it already where it says that the disk is full.
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            self._shrink(connection)

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Give some of what the file does not need back to the disk."""
        if _number(connection, "PRAGMA freelist_count") > _FREE_PAGES:
            with suppress(sqlite3.OperationalError):
                # execute() would do one step of it.
                connection.executescript(f"PRAGMA incremental_vacuum({_FREED_PAGES})")


def _reason_of(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _number(connection: sqlite3.Connection, select: str) -> int:
    return int(connection.execute(select).fetchone()[0] or 0)


def _checksum(*facts: object, data: bytes = b"") -> int:
    return zlib.crc32(data, zlib.crc32(repr(facts).encode()))


def _verify(checksum: int, *facts: object, data: bytes = b"") -> None:
    if not isinstance(data, bytes) or _checksum(*facts, data=data) != checksum:
        raise _DamagedError("a checksum is wrong")


def _metadata_of(text: bytes) -> Mapping[str, object]:
    """Read the metadata of an event, and what is in it, as read-only mappings."""
    metadata: Mapping[str, object] = json.loads(text, object_hook=MappingProxyType)
    return metadata


def _migrate_events(connection: sqlite3.Connection, incarnation: int) -> None:
    """Keep of the messages of version 1 the metadata: the rest is in the row."""
    rows = connection.execute(
        "SELECT timestamp, type, checksum, metadata FROM events WHERE incarnation = ?",
        (incarnation,),
    ).fetchall()
    migrated = []
    for timestamp, kind, checksum, message in rows:
        _verify(checksum, timestamp, kind, data=message)
        text = compact_json(json.loads(message)["metadata"]).encode()
        migrated.append(
            (_checksum(timestamp, kind, data=text), text, incarnation, timestamp)
        )
    connection.executemany(
        "UPDATE events SET checksum = ?, metadata = ? "
        "WHERE incarnation = ? AND timestamp = ?",
        migrated,
    )


def _pieces_of(container: Container, namespaces: tuple[str, ...]) -> Iterator[str]:
    """Write down what events tell of; the rest may be secret, and is of no use.

    And by what one container is told from another.
    """
    known = {"id": container.id, "origin": container.origin}
    yield json.dumps(known)[:-1] + ', "devices": {'
    yield from _items_of(
        (name, dict(device)) for name, device in container.devices.items()
    )
    yield '}, "config": {'
    yield from _items_of(
        (key, value)
        for key, value in container.config.items()
        if key.startswith(namespaces) or key == "volatile.uuid"
    )
    yield "}}"


def _items_of(items: Iterator[tuple[str, object]]) -> Iterator[str]:
    separator = ""
    while piece := dict(islice(items, _PIECE)):
        yield separator + json.dumps(piece)[1:-1]
        separator = ", "
