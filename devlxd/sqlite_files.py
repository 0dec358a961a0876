# -*- test-case-name: tests.test_sqlite_files -*-
"""SQLite files that one process at a time uses, and the errors of damaged ones."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress

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
