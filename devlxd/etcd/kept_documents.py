# -*- test-case-name: tests.etcd.test_kept_documents -*-
"""The last documents of etcd, which are written to a file in batches."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from devlxd.etcd.kept_file import KeptFile
from devlxd.etcd.kept_values import KeptDocument, Position
from devlxd.sqlite_files import StateFileError

#: The time until what nobody waits for is written, in seconds.
DELAY = 0.5

#: The delay of the retry after the file could not be written, in seconds.
RETRY = 10.0

#: How many documents are written at a time, and how many bytes of them.
_MAX_WRITTEN = 100
_MAX_BYTES = 256 * 1024


@frozen
class _Unwritten:
    """A change of a row that was not written.

    :ivar is_removal: whether the row is removed before anything else.
    :ivar document: the new content; ``None`` if there is no row any more.
    """

    is_removal: bool
    document: KeptDocument | None


class KeptDocuments:
    """The last documents of etcd, in a file.

    A document is written before it is used: after a crash, what is kept is never older
    than what guests have seen. If the file cannot be opened, nothing is kept. If it
    cannot be written, that is logged once, and every `RETRY` seconds an attempt is made
    to write what is missing.

    :param file: the file.
    :param reactor: schedules the writes.
    """

    _log = Logger()

    def __init__(self, file: KeptFile, reactor: IReactorTime) -> None:
        self._file = file
        self._reactor = reactor
        self._position: Callable[[], Position | None] = Position
        self._unwritten: dict[bytes, _Unwritten] = {}
        # The values that were used, and their revisions.
        self._good: dict[bytes, tuple[int, bytes | None]] = {}
        # Whether a list is being written, which is of use as a whole only.
        self._is_list = False
        self._is_open = False
        self._call: IDelayedCall | None = None
        self._has_failed = False

    def open(
        self, position: Callable[[], Position | None]
    ) -> tuple[Position, dict[bytes, KeptDocument]]:
        """Open the file; return what is in it, nothing if it cannot be opened.

        :param position: returns up to where the changes that were passed to `put` and
            `remove` are all changes; ``None`` if there is no list yet.
        """
        self._position = position
        try:
            kept = self._file.open()
        except StateFileError as error:
            self._log.error(
                "{reason}; devlxd does not keep the documents of etcd until it is "
                "started again",
                reason=str(error),
            )
            return Position(), {}
        self._is_open = True
        return kept

    def close(self) -> None:
        """Write everything, and close the file."""
        if self._is_open and not self._has_failed:
            while self._write() and self._unwritten:
                pass
        self._cancel()
        self._file.close()
        self._unwritten.clear()
        self._good.clear()
        self._has_failed = self._is_open = self._is_list = False

    def begin_list(self) -> None:
        """Write all that follows until nothing is left before any of it is used."""
        self._is_list = True

    def put(self, key: bytes, document: KeptDocument) -> None:
        """Keep a document that was received."""
        before = self._unwritten.get(key)
        is_removal = before is not None and before.is_removal
        self._add(key, _Unwritten(is_removal, document))

    def remove(self, key: bytes) -> None:
        """Forget a document."""
        self._add(key, _Unwritten(True, None))

    def used(
        self,
        key: bytes,
        revision: int,
        value: bytes | None,
        is_superseded: bool = False,
    ) -> None:
        """Note that a document can be used: it is the last good one.

        :param is_superseded: whether a newer one was received, which may be all that is
            written: this one is written now.
        """
        if self._is_open:
            self._good[key] = revision, value
            if is_superseded and not self._has_failed:
                self._write(key)
            self._schedule(DELAY)

    def confirmed(self) -> None:
        """Write a new position soon."""
        self._schedule(DELAY)

    def is_to_be_written(self, key: bytes) -> bool:
        """Return whether a document must not be used until `write_some` was called."""
        if not self._is_open or self._has_failed:
            return False
        return key in self._unwritten or (self._is_list and bool(self._unwritten))

    def write_some(self, key: bytes) -> None:
        """Write some changes now, that of a key among them."""
        self._write(key)

    def _add(self, key: bytes, change: _Unwritten) -> None:
        if self._is_open:
            self._unwritten[key] = change
            self._schedule(DELAY)

    def _schedule(self, seconds: float) -> None:
        if self._call is None and self._is_open:
            self._call = self._reactor.callLater(seconds, self._write_later)

    def _write_later(self) -> None:
        self._call = None
        if self._write() and self._unwritten:
            self._schedule(0)

    def _batch(self, first: bytes | None) -> dict[bytes, _Unwritten]:
        batch: dict[bytes, _Unwritten] = {}
        size = 0
        keys = [first] if first in self._unwritten else []
        for key in islice(chain(keys, self._unwritten), _MAX_WRITTEN):
            if size >= _MAX_BYTES:
                break
            batch[key] = change = self._unwritten[key]
            if change.document is not None:
                size += len(change.document.value or b"")
        return batch

    def _write(self, first: bytes | None = None) -> bool:
        """Write some of the changes; return whether that has succeeded.

        :param first: a key whose change is among them.
        """
        batch = self._batch(first)
        is_last = len(batch) == len(self._unwritten)
        documents = {key: one.document for key, one in batch.items() if one.document}
        removed = [key for key, one in batch.items() if one.is_removal]
        position = self._position() if is_last else None
        try:
            self._file.write(self._good, removed, documents, position)
        except StateFileError as error:
            self._failed(error)
            return False
        if self._has_failed:
            self._has_failed = False
            self._log.info(
                "{path}: the documents of etcd are kept in it again",
                path=self._file.path,
            )
        self._good.clear()
        for key in batch:
            del self._unwritten[key]
        if is_last:
            self._is_list = False
        return True

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _failed(self, error: StateFileError) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._log.error(
                "{reason}; devlxd does not keep the documents of etcd, and tries again "
                "every {seconds:.0f} s",
                reason=str(error),
                seconds=RETRY,
            )
        self._cancel()
        self._schedule(RETRY)
