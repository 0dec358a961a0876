# -*- test-case-name: tests.host.test_handover_store -*-
"""The record that describes handed-over connections, in a file in memory.

It consists of a header line ``devlxd-handover VERSION LENGTH SHA256`` and LENGTH
bytes of JSON: a list with the record of each connection.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence

from devlxd.model import JSONValue

#: The version of the records. A process reads those of its own version only: with
#: any other, the connections are closed and the guests connect again.
VERSION = 1

#: The largest record, in bytes.
MAX_BYTES = 256 << 20

_MAGIC = b"devlxd-handover"

#: The longest header, in bytes.
_MAX_HEADER = 128


class RecordError(Exception):
    """Raised when a record cannot be read; the text is the reason."""


def write_record(records: Sequence[Mapping[str, JSONValue]]) -> int:
    """Write the records into a new file in memory.

    :return: its file descriptor, which the caller closes.
    :raises RecordError: if the records are larger than `MAX_BYTES`.
    :raises OSError: if the file cannot be written.
    """
    body = json.dumps(list(records), separators=(",", ":")).encode()
    if len(body) > MAX_BYTES:
        raise RecordError(f"it has more than {MAX_BYTES >> 20} MiB")
    digest = hashlib.sha256(body).hexdigest()
    header = f"{_MAGIC.decode()} {VERSION} {len(body)} {digest}\n"
    descriptor = os.memfd_create("devlxd-handover", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(header.encode() + body)
    return descriptor


def read_record(descriptor: int) -> list[Mapping[str, JSONValue]]:
    """Return the records in a file in memory.

    :raises RecordError: if they are damaged, or have another version.
    :raises OSError: if the file cannot be read.
    """
    header, newline, _ = os.pread(descriptor, _MAX_HEADER, 0).partition(b"\n")
    fields = header.split(b" ")
    if not newline or len(fields) != 4 or fields[0] != _MAGIC:
        raise RecordError("it has no header")
    if fields[1] != str(VERSION).encode():
        raise RecordError("another version of devlxd has written it")
    length = int(fields[2]) if fields[2].isdigit() else -1
    size = os.fstat(descriptor).st_size - len(header) - 1
    if length != size or size > MAX_BYTES:
        raise RecordError("it has the wrong length")
    body = os.pread(descriptor, size, len(header) + 1)
    if hashlib.sha256(body).hexdigest().encode() != fields[3]:
        raise RecordError("it has the wrong checksum")
    try:
        records = json.loads(body)
    except (ValueError, RecursionError):
        raise RecordError("it is not JSON") from None
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise RecordError("it is not a list of objects")
    return records
