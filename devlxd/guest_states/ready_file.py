# -*- test-case-name: tests.guest_states.test_ready_file -*-
"""The file with the records of ready guests, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress

from twisted.logger import Logger

from devlxd.model import Init, is_container_name
from devlxd.sqlite_files import (
    CONTENT_ERRORS,
    PRAGMAS,
    DamagedError,
    check_content,
    connect,
    create_private,
    is_damage,
    number_of,
    reason_of,
    rename_damaged,
    version_of,
)

#: The version of the schema, in ``PRAGMA user_version``.
VERSION = 1

#: The statements that create the table of `VERSION`. Without runs, the columns of the
#: init are ``NULL``.
_SCHEMA = (
    """CREATE TABLE ready (
        container TEXT PRIMARY KEY,
        pid INTEGER,
        started INTEGER,
        boot TEXT
    ) WITHOUT ROWID""",
    f"PRAGMA user_version = {VERSION}",
)

_READ = "SELECT container, pid, started, boot FROM ready"
_PUT = "INSERT OR REPLACE INTO ready (container, pid, started, boot) VALUES (?,?,?,?)"
_REMOVE = "DELETE FROM ready WHERE container = ?"


class ReadyFileError(Exception):
    """Raised when the file cannot be used; the text is one line for the log."""


class ReadyFile:
    """A file with a record of each container whose guest is ready.

    A record is the init of the run that is ready; ``None`` where there are no runs. A
    damaged file is renamed, and replaced by an empty one.

    :ivar path: the path of the file.
    """

    _log = Logger()

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._connection is not None

    def check(self) -> None:
        """Check that the file is not locked, and not written by a newer devlxd.

        Creates a missing file; of an existing one it reads only the version. All other
        problems are left to `open`.

        :raises ReadyFileError: if it is locked or newer.
        """
        try:
            create_private(self.path)
            with closing(connect(self.path)) as connection:
                self._check_version(connection)
        except (OSError, sqlite3.Error) as error:
            if "database is locked" in str(error):
                raise ReadyFileError(f"{self.path}: {error}") from error

    def open(self) -> Mapping[str, Init | None]:
        """Open the file, and return its records by the names of the containers.

        :raises ReadyFileError: if it cannot be used.
        """
        with self._converted_errors():
            try:
                return self._load()
            except Exception as error:
                if not is_damage(error):
                    raise
                self._rename(error)
            return self._load()

    def write(
        self, changed: Mapping[str, Init | None], removed: Collection[str]
    ) -> None:
        """Write records, and remove others: either all of them or none.

        :raises ReadyFileError: if that fails, or the file is not open.
        """
        with self._converted_errors():
            if self._connection is None:
                raise ReadyFileError(f"{self.path}: not open")
            # sqlite3 commits at the end of the block, or rolls back.
            with self._connection as connection:
                connection.execute("BEGIN")
                connection.executemany(_PUT, map(_row_of, changed, changed.values()))
                connection.executemany(_REMOVE, [(name,) for name in removed])

    def close(self) -> None:
        """Close the file; harmless if it is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _load(self) -> Mapping[str, Init | None]:
        create_private(self.path)
        with ExitStack() as stack:
            connection = stack.enter_context(closing(connect(self.path)))
            self._check_version(connection)
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            check_content(connection)
            if not version_of(connection):
                _create_tables(connection)
            records = dict(_record_in(row) for row in connection.execute(_READ))
            self._connection = connection
            stack.pop_all()
        return records

    def _check_version(self, connection: sqlite3.Connection) -> None:
        version = version_of(connection)
        if version > VERSION:
            raise ReadyFileError(
                f"{self.path}: written by a newer devlxd: its format is {version}, "
                f"this one's {VERSION}"
            )

    def _rename(self, error: Exception) -> None:
        """Rename a damaged file, and log that."""
        renamed = rename_damaged(self.path)
        self._log.error(
            "{path} is damaged ({reason}); devlxd has renamed it to {renamed}, and "
            "treats every guest as not ready",
            path=self.path,
            reason=reason_of(error),
            renamed=renamed,
        )

    @contextmanager
    def _converted_errors(self) -> Iterator[None]:
        """Convert errors of the block to `ReadyFileError`."""
        try:
            yield
        except (OSError, sqlite3.Error, DamagedError, *CONTENT_ERRORS) as error:
            raise ReadyFileError(f"{self.path}: {reason_of(error)}") from error


def _create_tables(connection: sqlite3.Connection) -> None:
    if number_of(connection, "SELECT count(*) FROM sqlite_master"):
        raise DamagedError("it was not written by devlxd")
    connection.execute("BEGIN")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("COMMIT")


def _row_of(name: str, init: Init | None) -> tuple[object, ...]:
    if init is None:
        return name, None, None, None
    return name, init.pid, init.started, init.boot


def _record_in(row: tuple[object, ...]) -> tuple[str, Init | None]:
    """Return the record in a row.

    :raises DamagedError: if the row is not one that `ReadyFile.write` writes.
    """
    name, pid, started, boot = row
    if isinstance(name, str) and is_container_name(name):
        if (pid, started, boot) == (None, None, None):
            return name, None
        if isinstance(pid, int) and isinstance(started, int) and isinstance(boot, str):
            return name, Init(pid, started, boot)
    raise DamagedError("it has a wrong value")
