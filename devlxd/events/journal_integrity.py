# -*- test-case-name: tests.events.test_journal_damage -*-
"""Recognition of damaged journals: checksums, and errors of SQLite."""

from __future__ import annotations

import sqlite3
import zlib

#: SQLITE_IOERR_SHORT_READ, by which SQLite from 3.46 on reports a truncated file.
#: The `sqlite3` module has no names of errors before Python 3.11.
_SHORT_READ = 522

#: Raised where a value has not the type, or the range, of what was written.
MISREAD = (KeyError, OverflowError, TypeError, ValueError)


class DamagedError(Exception):
    """The content of a journal is not what was written."""


class UnusableError(Exception):
    """A journal is not damaged, but cannot be used; the text says why."""


def is_damage(error: Exception) -> bool:
    """Return whether ``error`` says that a journal is damaged."""
    if getattr(error, "sqlite_errorcode", None) == _SHORT_READ:
        return True
    if isinstance(error, sqlite3.OperationalError):
        # The schema, or a text, is not what was written.
        return str(error).startswith(("no such", "Could not decode"))
    # SQLITE_CORRUPT and SQLITE_NOTADB have no class of their own.
    damage = (DamagedError, IsADirectoryError, *MISREAD)
    return isinstance(error, damage) or type(error) is sqlite3.DatabaseError


def checksum_of(*facts: object, data: bytes = b"") -> int:
    """Return the checksum of a row: of its ``data``, and of its other values."""
    return zlib.crc32(data, zlib.crc32(repr(facts).encode()))


def verify(checksum: int, *facts: object, data: bytes = b"") -> None:
    """Compare a checksum with that of the values, as in `checksum_of`.

    :raises DamagedError: when they differ.
    """
    if not isinstance(data, bytes) or checksum_of(*facts, data=data) != checksum:
        raise DamagedError("a checksum is wrong")
