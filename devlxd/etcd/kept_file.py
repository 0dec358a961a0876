# -*- test-case-name: tests.etcd.test_kept_file -*-
"""The file with the last documents that were received from etcd, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from twisted.logger import Logger

from devlxd.etcd.kept_values import KeptDocument, Position
from devlxd.sqlite_files import DamagedError, StateFile

#: The version of the schema, in ``PRAGMA user_version``.
VERSION = 1

#: The statements that create the tables of `VERSION`. A value that was too large is
#: ``NULL``. ``is_good`` is set when ``value`` was used; until then ``good`` is the last
#: value that was.
_SCHEMA = (
    """CREATE TABLE documents (
        key BLOB PRIMARY KEY,
        create_revision INTEGER NOT NULL,
        mod_revision INTEGER NOT NULL,
        origin TEXT NOT NULL,
        value BLOB,
        is_good INTEGER NOT NULL,
        good BLOB
    ) WITHOUT ROWID""",
    """CREATE TABLE position (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        cluster_id TEXT NOT NULL,
        timeline TEXT NOT NULL,
        revision INTEGER NOT NULL,
        agreed REAL NOT NULL,
        is_exact INTEGER NOT NULL
    )""",
    f"PRAGMA user_version = {VERSION}",
)

_COLUMNS = "key, create_revision, mod_revision, origin, value, is_good, good"
_READ = f"SELECT {_COLUMNS} FROM documents"
_READ_POSITION = "SELECT cluster_id, timeline, revision, agreed, is_exact FROM position"
#: Keeps the value of the row as its last good one.
_PUT = f"""INSERT INTO documents ({_COLUMNS}) VALUES (?,?,?,?,?,0,NULL)
    ON CONFLICT (key) DO UPDATE SET
        create_revision = excluded.create_revision,
        mod_revision = excluded.mod_revision,
        origin = excluded.origin,
        good = CASE WHEN is_good THEN value ELSE good END,
        value = excluded.value,
        is_good = 0"""
_REMOVE = "DELETE FROM documents WHERE key = ?"
#: The value was used; or an older one was, while a newer one was written already.
_MARK = """UPDATE documents SET is_good = 1, good = NULL
    WHERE key = ? AND mod_revision = ?"""
_MARK_OLDER = """UPDATE documents SET good = ?
    WHERE key = ? AND mod_revision > ? AND NOT is_good"""
_PUT_POSITION = "INSERT OR REPLACE INTO position VALUES (0,?,?,?,?,?)"
_NOT_EXACT = "UPDATE position SET is_exact = 0"


class KeptFile(StateFile[tuple[Position, dict[bytes, KeptDocument]]]):
    """A file with documents of etcd, by their keys, and what they were read from."""

    version = VERSION
    schema = _SCHEMA
    _log = Logger()

    def write(
        self,
        good: Mapping[bytes, tuple[int, bytes | None]],
        removed: Iterable[bytes],
        documents: Mapping[bytes, KeptDocument],
        position: Position | None,
    ) -> None:
        """Write changes: either all of them or none, in the order of the parameters.

        :param good: values that were used, and their revisions.
        :param removed: keys that are removed.
        :param documents: new values. The last good ones stay beside them.
        :param position: replaces that in the file; ``None`` if more changes follow: the
            file is not exact until then.
        :raises StateFileError: if that fails, or the file is not open.
        """
        with self.transaction() as connection:
            marks = [(key, revision) for key, (revision, _) in good.items()]
            connection.executemany(_MARK, marks)
            older = [(value, key, at) for key, (at, value) in good.items()]
            connection.executemany(_MARK_OLDER, older)
            connection.executemany(_REMOVE, [(key,) for key in removed])
            rows = map(_row_of, documents, documents.values())
            connection.executemany(_PUT, rows)
            if position is None:
                connection.execute(_NOT_EXACT)
            else:
                connection.execute(_PUT_POSITION, _position_row(position))

    def read(
        self, connection: sqlite3.Connection
    ) -> tuple[Position, dict[bytes, KeptDocument]]:
        """See `StateFile.read`."""
        position = _position_in(connection.execute(_READ_POSITION).fetchone())
        return position, dict(map(_document_in, connection.execute(_READ)))

    def log_damage(self, reason: str, renamed: str) -> None:
        """See `StateFile.log_damage`."""
        self._log.error(
            "{path} is damaged ({reason}); devlxd has renamed it to {renamed}, and "
            "keeps the documents of etcd in a new file",
            path=self.path,
            reason=reason,
            renamed=renamed,
        )


def _row_of(key: bytes, document: KeptDocument) -> tuple[object, ...]:
    return (
        key,
        document.create_revision,
        document.mod_revision,
        document.origin,
        document.value,
    )


def _position_row(position: Position) -> tuple[object, ...]:
    return (
        position.cluster_id,
        position.timeline,
        position.revision,
        position.agreed,
        int(position.is_exact),
    )


def _position_in(row: tuple[object, ...] | None) -> Position:
    """Return the position in a row; an empty one if there is no row.

    :raises DamagedError: if the row is not one that `KeptFile.write` writes.
    """
    if row is None:
        return Position()
    cluster_id, timeline, revision, agreed, is_exact = row
    if (
        isinstance(cluster_id, str)
        and isinstance(timeline, str)
        and isinstance(revision, int)
        and isinstance(agreed, float)
    ):
        return Position(cluster_id, timeline, revision, agreed, bool(is_exact))
    raise DamagedError("it has a wrong value")


def _document_in(row: tuple[object, ...]) -> tuple[bytes, KeptDocument]:
    """Return the document in a row, and its key; see `_position_in`."""
    key, created, changed, origin, value, is_good, good = row
    if (
        isinstance(key, bytes)
        and isinstance(created, int)
        and isinstance(changed, int)
        and isinstance(origin, str)
        and (value is None or isinstance(value, bytes))
        and (good is None or isinstance(good, bytes))
    ):
        document = KeptDocument(created, changed, origin, value, bool(is_good), good)
        return key, document
    raise DamagedError("it has a wrong value")
