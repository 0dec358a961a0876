# -*- test-case-name: tests.events.test_journal_damage -*-
"""Detection of changed rows of journals: checksums."""

from __future__ import annotations

import zlib

from devlxd.sqlite_files import DamagedError


class UnusableError(Exception):
    """An undamaged journal cannot be used; the message is the reason."""


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
