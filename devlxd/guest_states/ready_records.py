# -*- test-case-name: tests.guest_states.test_ready_records -*-
"""The records of ready guests: in memory, and in a file as far as it is usable."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from devlxd.guest_states.ready_file import ReadyFile
from devlxd.model import Init
from devlxd.sqlite_files import StateFileError

#: The delay of the retry after the file could not be written, in seconds.
RETRY = 10.0

#: The maximum number of records that are written at a time.
_MAX_WRITTEN = 100


class ReadyRecords:
    """The records of ready guests, which are written to a file one by one.

    If the file cannot be used, that is logged once, and the records are kept in memory
    only. Every `RETRY` seconds an attempt is made to write those that differ from the
    file.

    :param file: the file.
    :param reactor: schedules retries.
    """

    _log = Logger()

    def __init__(self, file: ReadyFile, reactor: IReactorTime) -> None:
        self._file = file
        self._reactor = reactor
        self._records: dict[str, Init | None] = {}
        self._unwritten: dict[str, None] = {}
        self._call: IDelayedCall | None = None
        self._has_failed = False

    def open(self) -> Mapping[str, Init | None]:
        """Open the file; return the records in it, none if it cannot be opened."""
        try:
            self._records = dict(self._file.open())
        except StateFileError as error:
            self._failed(error)
        return dict(self._records)

    def close(self) -> None:
        """Close the file."""
        while self._unwritten and self._file.is_open:
            self._write()
        self._cancel()
        self._file.close()
        self._records.clear()
        self._unwritten.clear()
        self._has_failed = False

    def put(self, name: str, init: Init | None) -> None:
        """Record that the guest of a container is ready; see `ReadyFile`."""
        self._records[name] = init
        self._changed(name)

    def remove(self, name: str) -> None:
        """Remove a record; harmless if there is none."""
        self._records.pop(name, None)
        self._changed(name)

    def _changed(self, name: str) -> None:
        self._unwritten[name] = None
        if self._call is None:
            self._write()

    def _write(self) -> None:
        """Write some of the records that differ from the file."""
        self._cancel()
        try:
            if not self._file.is_open:
                self._compare(self._file.open())
            names = list(islice(self._unwritten, _MAX_WRITTEN))
            changed = {n: self._records[n] for n in names if n in self._records}
            self._file.write(changed, [n for n in names if n not in changed])
        except StateFileError as error:
            self._failed(error)
            return
        if self._has_failed:
            self._has_failed = False
            self._log.info(
                "{path}: guest states are written to it again", path=self._file.path
            )
        for name in names:
            del self._unwritten[name]
        if self._unwritten:
            self._call = self._reactor.callLater(0, self._write)

    def _cancel(self) -> None:
        """Cancel the next call of `_write`."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _compare(self, written: Mapping[str, Init | None]) -> None:
        """Add the records that differ from those in the file to the unwritten ones."""
        for name in {*written, *self._records}:
            in_both = name in written and name in self._records
            if not in_both or written[name] != self._records[name]:
                self._unwritten[name] = None

    def _failed(self, error: StateFileError) -> None:
        self._file.close()
        if not self._has_failed:
            self._has_failed = True
            self._log.error(
                "{reason}; guest states are kept in memory only, devlxd tries again "
                "every {seconds:.0f} s",
                reason=str(error),
                seconds=RETRY,
            )
        self._call = self._reactor.callLater(RETRY, self._write)
