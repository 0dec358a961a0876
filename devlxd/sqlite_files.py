# -*- test-case-name: tests.test_sqlite_files -*-
"""SQLite files that one process at a time uses: their opening, and their damages."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import ClassVar, Generic, TypeVar

Content = TypeVar("Content")

#: The path of a database in memory, as SQLite defines it.
MEMORY = ":memory:"

#: The settings of a file to which each change is written at once.
PRAGMAS = (
    "journal_mode = WAL",
    "wal_autocheckpoint = 256",
    "journal_size_limit = 1048576",
    # No fsync, which may take long. It is not needed: if the host crashes, all
    # guests crash, too.
    "synchronous = OFF",
)

#: What SQLite adds to the path of a file in mode WAL for each of its files.
_SUFFIXES = ("-wal", "-shm", "")

#: SQLITE_IOERR_SHORT_READ, by which SQLite from 3.46 on reports a truncated file.
#: The `sqlite3` module has no names of errors before Python 3.11.
_SHORT_READ = 522

#: The exceptions of code that reads a value of an unexpected type or range.
CONTENT_ERRORS = (KeyError, OverflowError, TypeError, ValueError)


class DamagedError(Exception):
    """The content of a file differs from the written content."""


class StateFileError(Exception):
    """Raised when a `StateFile` cannot be used; the text is one line for the log."""


def is_damage(error: Exception) -> bool:
    """Return whether ``error`` means that a file is damaged."""
    if getattr(error, "sqlite_errorcode", None) == _SHORT_READ:
        return True
    if isinstance(error, sqlite3.OperationalError):
        # The schema or some text differs from what was written.
        return str(error).startswith(("no such", "Could not decode"))
    # SQLITE_CORRUPT and SQLITE_NOTADB have no class of their own.
    damage = (DamagedError, IsADirectoryError, *CONTENT_ERRORS)
    return isinstance(error, damage) or type(error) is sqlite3.DatabaseError


def reason_of(error: Exception) -> str:
    """Return the text of an error, without the path of the file."""
    return str(getattr(error, "strerror", None) or error)


def connect(path: str) -> sqlite3.Connection:
    """Connect to a file, and exclude other processes from the first access on.

    :param path: the path of the file, or `MEMORY`.
    :raises sqlite3.Error: if the file cannot be opened.
    """
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def create_private(path: str) -> int:
    """Create a file if it is missing, readable by this user only; return its mode.

    SQLite gives the files that it creates beside it the same mode. Call this only
    before `connect`: closing any descriptor of a file releases all locks of the
    process on it (``fcntl(2)``).

    :raises OSError: if the file cannot be opened.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(file, "rb"):
        return os.fstat(file).st_mode


def rename_damaged(path: str) -> str:
    """Rename a file and those beside it; return the new path.

    It is the old one with the date and the time.

    :raises OSError: if a file cannot be renamed.
    """
    renamed = f"{path}.damaged-{time.strftime('%Y%m%dT%H%M%S')}"
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            os.rename(path + suffix, renamed + suffix)
    return renamed


def delete(path: str) -> None:
    """Delete a file and those beside it.

    :raises OSError: if a file cannot be deleted.
    """
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)


def check_content(connection: sqlite3.Connection) -> None:
    """Check the structure of a file.

    :raises DamagedError: if it is damaged.
    """
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DamagedError(found)


def number_of(connection: sqlite3.Connection, select: str) -> int:
    """Return the number that a query returns, 0 for ``NULL``."""
    return int(connection.execute(select).fetchone()[0] or 0)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of a file's schema, 0 for an empty file."""
    return number_of(connection, "PRAGMA user_version")


class StateFile(Generic[Content]):
    """A file with a state that is read at the start, and written then.

    A damaged file is renamed, and begun again. A subclass sets `version` and `schema`,
    and implements the hooks.

    :cvar version: the version of the schema, in ``PRAGMA user_version``.
    :cvar schema: the statements that create the tables, and set the version.
    :ivar path: the path of the file.
    """

    version: ClassVar[int]
    schema: ClassVar[Sequence[str]]

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    def read(self, connection: sqlite3.Connection) -> Content:
        """Hook: return the content of the tables.

        :raises DamagedError: if it is not what the subclass writes.
        """
        raise NotImplementedError

    def log_damage(self, reason: str, renamed: str) -> None:
        """Hook: log that the file was damaged.

        :param renamed: the path that it has now.
        """
        raise NotImplementedError

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._connection is not None

    def check(self) -> None:
        """Check that the file is not locked, and not written by a newer devlxd.

        Creates a missing file; of an existing one it reads only the version. All other
        problems are left to `open`.

        :raises StateFileError: if it is locked or newer.
        """
        try:
            create_private(self.path)
            with closing(connect(self.path)) as connection:
                self._check_version(connection)
        except (OSError, sqlite3.Error) as error:
            if "database is locked" in str(error):
                raise StateFileError(f"{self.path}: {error}") from error

    def open(self) -> Content:
        """Open the file; return its content.

        :raises StateFileError: if it cannot be used.
        """
        with self._converted_errors():
            try:
                return self._load()
            except Exception as error:
                if not is_damage(error):
                    raise
                self.log_damage(reason_of(error), rename_damaged(self.path))
            return self._load()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Return a context in which either all changes are written or none.

        :raises StateFileError: if that fails, or the file is not open.
        """
        with self._converted_errors():
            if self._connection is None:
                raise StateFileError(f"{self.path}: not open")
            # sqlite3 commits at the end of the block, or rolls back.
            with self._connection as connection:
                connection.execute("BEGIN")
                yield connection

    def close(self) -> None:
        """Close the file; harmless if it is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _load(self) -> Content:
        create_private(self.path)
        with ExitStack() as stack:
            connection = stack.enter_context(closing(connect(self.path)))
            self._check_version(connection)
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            check_content(connection)
            if not version_of(connection):
                self._create_tables(connection)
            content = self.read(connection)
            self._connection = connection
            stack.pop_all()
        return content

    def _check_version(self, connection: sqlite3.Connection) -> None:
        version = version_of(connection)
        if version > self.version:
            raise StateFileError(
                f"{self.path}: written by a newer devlxd: its format is {version}, "
                f"this one's {self.version}"
            )

    def _create_tables(self, connection: sqlite3.Connection) -> None:
        if number_of(connection, "SELECT count(*) FROM sqlite_master"):
            raise DamagedError("it was not written by devlxd")
        connection.execute("BEGIN")
        for statement in self.schema:
            connection.execute(statement)
        connection.execute("COMMIT")

    @contextmanager
    def _converted_errors(self) -> Iterator[None]:
        """Convert errors of the block to `StateFileError`."""
        try:
            yield
        except (OSError, sqlite3.Error, DamagedError, *CONTENT_ERRORS) as error:
            raise StateFileError(f"{self.path}: {reason_of(error)}") from error
