# -*- test-case-name: tests.httpserver.test_connection_state -*-
"""The state of a connection, as one process leaves it for the next one."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from attrs import frozen

from devlxd.model import JSONValue

#: The version of the records. A process reads those of its own version only.
VERSION = 1

#: How much of a request that is not complete is kept, in bytes: the longest head, or a
#: long body.
MAX_RECEIVED = 18 * 1024

#: How much of a message that the client has not read yet is kept, in bytes.
MAX_UNSENT = 1024 * 1024

#: How much data of all connections of a site is kept, in bytes. Writing it and reading
#: it take less than a second.
MAX_OF_ALL = 16 * 1024 * 1024

#: The protocol of a stream over a websocket.
WEBSOCKET = "websocket"

#: The protocols of streams.
PROTOCOLS = ("HTTP/1.0", "HTTP/1.1", WEBSOCKET)

#: The target of a request that contains nothing but visible characters.
_TARGET = re.compile(r"/[!-~]{,65536}", re.ASCII)


@frozen
class StreamState:
    """An endless stream that a connection carries.

    :ivar target: the path and query of a request for the rest of the stream.
    :ivar protocol: one of `PROTOCOLS`.
    """

    target: str
    protocol: str


@frozen
class ConnectionState:
    """What is needed to continue a connection.

    :ivar caller: the caller, see `IAdmission.record_of`; ``None`` if it was not
        identified.
    :ivar received: data of the client that was not processed: the next request as far
        as it was received, or the beginning of a frame of a websocket.
    :ivar unsent: data that was not sent yet.
    :ivar is_idle: whether no byte of the next request was expected soon.
    :ivar is_continued: whether the client was sent a 100 for the request in `received`.
    :ivar stream: the stream that the connection carries, if there is one.
    """

    caller: Mapping[str, JSONValue] | None = None
    received: bytes = b""
    unsent: bytes = b""
    is_idle: bool = False
    is_continued: bool = False
    stream: StreamState | None = None

    def as_record(self) -> dict[str, JSONValue]:
        """Return the state as values of JSON."""
        record: dict[str, JSONValue] = {"version": VERSION}
        if self.caller is not None:
            record["caller"] = dict(self.caller)
        for name, data in (("received", self.received), ("unsent", self.unsent)):
            if data:
                record[name] = base64.b64encode(data).decode("ascii")
        for name, value in (
            ("is_idle", self.is_idle),
            ("is_continued", self.is_continued),
        ):
            if value:
                record[name] = True
        if self.stream is not None:
            record["target"] = self.stream.target
            record["protocol"] = self.stream.protocol
        return record


def state_of(record: Mapping[str, JSONValue]) -> ConnectionState:
    """Return the state that `ConnectionState.as_record` wrote.

    :raises ValueError: if the record is malformed, or of another version.
    """
    if record.get("version") != VERSION:
        raise ValueError("not of this version")
    caller = record.get("caller")
    if caller is not None and not isinstance(caller, dict):
        raise ValueError("caller is not an object")
    return ConnectionState(
        caller,
        _bytes_in(record, "received"),
        _bytes_in(record, "unsent"),
        record.get("is_idle") is True,
        record.get("is_continued") is True,
        _stream_in(record),
    )


def _bytes_in(record: Mapping[str, JSONValue], name: str) -> bytes:
    encoded = record.get(name, "")
    if not isinstance(encoded, str):
        raise ValueError(f"{name} is not a text")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError(f"{name} is not base64") from None


def _stream_in(record: Mapping[str, JSONValue]) -> StreamState | None:
    target, protocol = record.get("target"), record.get("protocol")
    if target is None and protocol is None:
        return None
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise ValueError("target is not the target of a request")
    if not isinstance(protocol, str) or protocol not in PROTOCOLS:
        raise ValueError("protocol is unknown")
    return StreamState(target, protocol)
