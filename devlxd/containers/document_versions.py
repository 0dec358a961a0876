# -*- test-case-name: tests.containers.test_directory_store -*-
"""Detecting whether a document has changed since it was read."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.interfaces import IReactorTime

from devlxd.containers.document_paths import DocumentPath, UnreadableError

#: Two changes of a file within this time, in seconds, may have the same timestamp:
#: the timestamps of file systems are coarse.
TIMESTAMP_GRANULARITY = 2.0

#: How long a document must stay the same before it is read, in seconds, if its
#: change was not reported: it may be half written.
SETTLE = 0.25

#: The signature of all documents of a container: equal as long as they are
#: unchanged. ``None`` if one has changed within `TIMESTAMP_GRANULARITY`: its next
#: change may not change the signature.
Signature: TypeAlias = "tuple[str | int | None, ...] | None"


def signature_of(paths: list[DocumentPath], now: float) -> Signature:
    """Return the signature of the documents of a container.

    :param now: the time, in seconds since 1970.
    """
    # A flat tuple of atoms is not tracked by Python's garbage collector, which
    # would visit ten thousand of them again and again.
    signature: list[str | int | None] = []
    for path in paths:
        try:
            status = os.stat(path.path)
        except OSError as error:
            signature += (str(path.path), error.errno)
        else:
            if max(status.st_mtime, status.st_ctime) > now - TIMESTAMP_GRANULARITY:
                return None
            times = (status.st_mtime_ns, status.st_ctime_ns)
            signature += (str(path.path), status.st_dev, status.st_ino, *times)
    return tuple(signature)


def _state_of(paths: list[DocumentPath]) -> list[tuple[int, int, int]]:
    """Return values that change with each piece that is written to a document.

    :raises UnreadableError: when they are unknown.
    """
    states = []
    for path in paths:
        try:
            status = os.stat(path.path)
        except OSError as error:
            raise UnreadableError.from_os_error(error, path.path) from None
        states.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return states


class DocumentVersions:
    """The versions of documents: whether they were read, and whether they settled.

    :param reactor: measures how long a document stays the same.
    :param wall: returns the time as file systems record it, in seconds since 1970.
    """

    def __init__(self, reactor: IReactorTime, wall: Callable[[], float]) -> None:
        self._reactor = reactor
        self._wall = wall
        self._signatures: dict[str, Signature] = {}
        # By name: the last state, and since when the document is in it.
        self._states: dict[str, tuple[object, float]] = {}

    def signature(self, paths: list[DocumentPath]) -> Signature:
        """Return the current signature of documents, see `signature_of`."""
        return signature_of(paths, self._wall())

    def was_read(self, name: str, signature: Signature) -> bool:
        """Return whether the documents had this signature at their last read."""
        return bool(signature) and signature == self._signatures.get(name)

    def record(self, name: str, signature: Signature) -> None:
        """Record that documents with this signature were read."""
        self._signatures[name] = signature

    def discard(self, name: str) -> None:
        """Forget which documents of the container were read."""
        self._signatures.pop(name, None)

    def discard_all(self) -> None:
        """Forget which documents were read."""
        self._signatures.clear()

    def remove(self, name: str) -> None:
        """Forget a container that has no document."""
        self.discard(name)
        self._states.pop(name, None)

    def check_settled(self, name: str, paths: list[DocumentPath]) -> None:
        """Check that a document whose change was not reported has settled.

        :raises UnreadableError: when the document has changed in the last `SETTLE`
            seconds: it may be half written.
        """
        state, now = _state_of(paths), self._reactor.seconds()
        seen, since = self._states.get(name, (None, now))
        if state != seen:
            since = now
            self._states[name] = (state, now)
        if now - since < SETTLE:
            where = paths[0].printable()
            raise UnreadableError(where, "is still changing", is_transient=True)
