# -*- test-case-name: tests.events.test_journal_damage -*-
"""Detection of damaged journals: checksums, and errors of SQLite."""

from __future__ import annotations

import sqlite3
import zlib

#: SQLITE_IOERR_SHORT_READ, by which SQLite from 3.46 on reports a truncated file.
#: The `sqlite3` module has no names of errors before Python 3.11.
_SHORT_READ = 522

#: The exceptions of code that reads a value of an unexpected type or range.
CONTENT_ERRORS = (KeyError, OverflowError, TypeError, ValueError)


class DamagedError(Exception):
    """The content of a journal differs from the written content."""


class UnusableError(Exception):
    """An undamaged journal cannot be used; the message is the reason."""


def is_damage(error: Exception) -> bool:
    """Return whether ``error`` means that a journal is damaged."""
    if getattr(error, "sqlite_errorcode", None) == _SHORT_READ:
        return True
    if isinstance(error, sqlite3.OperationalError):
        # The schema or some text differs from what was written.
        return str(error).startswith(("no such", "Could not decode"))
    # SQLITE_CORRUPT and SQLITE_NOTADB have no class of their own.
    damage = (DamagedError, IsADirectoryError, *CONTENT_ERRORS)
    return isinstance(error, damage) or type(error) is sqlite3.DatabaseError


def checksum_of(*values: object, data: bytes = b"") -> int:
    """Return the checksum of a row.

    :param values: its short values.
    :param data: its long value.
    """
    return zlib.crc32(data, zlib.crc32(repr(values).encode()))


def verify(checksum: int, *values: object, data: bytes = b"") -> None:
    """Check the checksum of values, see `checksum_of`.

    :raises DamagedError: when it is wrong.
    """
    if not isinstance(data, bytes) or checksum_of(*values, data=data) != checksum:
        raise DamagedError("a checksum is wrong")
