# -*- test-case-name: tests.events.test_journal_schema -*-
"""The SQLite schema of the journal, and the migration of older files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from devlxd.compact_json import compact_json
from devlxd.events.journal_integrity import (
    UnusableError,
    checksum_of,
    verify,
)
from devlxd.sqlite_files import is_damage, number_of, version_of

#: The version of the schema, in ``PRAGMA user_version``.
VERSION = 2

#: The statements that create a file of `VERSION`. Of two incarnations of a name the
#: newer one has the greater id. Long columns are the last ones: SQLite reads a row
#: only up to the last column that a query needs.
_SCHEMA = (
    "CREATE TABLE namespaces (namespace TEXT PRIMARY KEY)",
    """CREATE TABLE incarnations (
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
    )""",
    """CREATE TABLE events (
        incarnation INTEGER NOT NULL,
        timestamp INTEGER NOT NULL,
        type TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        metadata BLOB NOT NULL,
        PRIMARY KEY (incarnation, timestamp)
    ) WITHOUT ROWID""",
    "CREATE INDEX events_by_type ON events (incarnation, type, timestamp)",
    f"PRAGMA user_version = {VERSION}",
)

#: The columns that the checksum of an incarnation covers. Counters are not among
#: them.
FACTS = "number, name, last_timestamp, document_checksum"

#: Version 1 had rendered messages instead of metadata, and events of the namespace
#: ``user.`` only. The messages are replaced between these statements.
_BEGIN_MIGRATION = "ALTER TABLE events RENAME COLUMN text TO metadata"
_END_MIGRATION = (
    "UPDATE incarnations SET bytes = (SELECT ifnull(sum(length(metadata)), 0) "
    "FROM events WHERE incarnation = number)",
    _SCHEMA[0],
    "INSERT INTO namespaces VALUES ('user.')",
    "PRAGMA user_version = 2",
)


def prepare_schema(connection: sqlite3.Connection, namespaces: Collection[str]) -> None:
    """Create the tables of an empty file, or migrate those of an older one.

    :param namespaces: the namespaces that the file must have been recorded with.
    :raises UnusableError: when the file cannot be used, and a new one should be.
    """
    version = version_of(connection)
    if not number_of(connection, "SELECT count(*) FROM sqlite_master"):
        _create(connection, namespaces)
    elif version == 0:
        raise UnusableError("an older devlxd has written it")
    elif version == 1:
        _migrate(connection)
    rows = connection.execute("SELECT namespace FROM namespaces")
    if {namespace for (namespace,) in rows} != set(namespaces):
        raise UnusableError("it was recorded for other config keys")


def _create(connection: sqlite3.Connection, namespaces: Collection[str]) -> None:
    connection.execute("BEGIN")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO namespaces VALUES (?)", [(name,) for name in set(namespaces)]
    )
    connection.execute("COMMIT")


def _migrate(connection: sqlite3.Connection) -> None:
    """Migrate a file of version 1, in one transaction."""
    try:
        connection.execute("BEGIN")
        connection.execute(_BEGIN_MIGRATION)
        numbers = connection.execute("SELECT number FROM incarnations").fetchall()
        for (number,) in numbers:
            _migrate_events(connection, number)
        for statement in _END_MIGRATION:
            connection.execute(statement)
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if is_damage(error):
            raise
        # A retry would block the reactor for seconds, again and again.
        raise UnusableError(f"it cannot be migrated ({error})") from error


def _migrate_events(connection: sqlite3.Connection, incarnation: int) -> None:
    """Replace the messages of an incarnation by their metadata."""
    rows = connection.execute(
        "SELECT timestamp, type, checksum, metadata FROM events WHERE incarnation = ?",
        (incarnation,),
    ).fetchall()
    migrated = []
    for timestamp, kind, checksum, message in rows:
        verify(checksum, timestamp, kind, data=message)
        metadata = compact_json(json.loads(message)["metadata"]).encode()
        new_checksum = checksum_of(timestamp, kind, data=metadata)
        migrated.append((new_checksum, metadata, incarnation, timestamp))
    connection.executemany(
        "UPDATE events SET checksum = ?, metadata = ? "
        "WHERE incarnation = ? AND timestamp = ?",
        migrated,
    )
