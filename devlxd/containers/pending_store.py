# -*- test-case-name: tests.containers.test_etcd_store -*-
"""The base class of a store that receives its documents as changes."""

from __future__ import annotations

from contextlib import suppress

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from devlxd.containers.comparison import are_equal
from devlxd.containers.document_parser import ParsedDocument
from devlxd.containers.document_paths import UnreadableError
from devlxd.containers.document_records import DocumentRecords
from devlxd.containers.document_store import DocumentStoreBase
from devlxd.containers.document_warnings import AccessKeys
from devlxd.containers.etcd_documents import key_of, name_of, parse_value
from devlxd.containers.failed_reads import FailedReads
from devlxd.containers.kept_changes import KeptChanges
from devlxd.containers.pending_changes import Pending, PendingChanges
from devlxd.containers.reading_queue import ReadingQueue
from devlxd.containers.warning_log import WarningLog
from devlxd.etcd.changes import Change
from devlxd.limits import CurrentLimits
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Container
from devlxd.turns import Slices


class PendingStoreBase(DocumentStoreBase):
    """A store that parses changes in slices: those of a container in their order.

    :param base: what the places of all documents begin with.
    :param reactor: schedules parsing.
    :param kept: keeps what was parsed.
    :param access_keys: the config keys whose mistakes are logged.
    :param limits: the limits of documents; default: the usual ones.
    """

    _log = Logger()

    def __init__(
        self,
        base: str,
        reactor: IReactorTime,
        kept: KeptChanges,
        access_keys: AccessKeys,
        limits: CurrentLimits | None,
    ) -> None:
        super().__init__()
        self._base = base
        self._reactor = reactor
        self._kept = kept
        self._access_keys = access_keys
        self._limits = limits or CurrentLimits()
        self._limited_log = RateLimitedLogger(self._log, reactor, self._limits)
        self._reset()

    def _reset(self) -> None:
        """Discard all that is known about the documents, but keep the snapshots."""
        self._pending = PendingChanges()
        self._queue = ReadingQueue(
            self._reactor, self._read, self.mark_loaded, self._limits
        )
        self._failed = FailedReads(
            self._reactor, self._limited_log, lambda _: None, quiet_retries=()
        )
        warnings = WarningLog(self._limited_log)
        self._documents = DocumentRecords(
            self._base, lambda _: None, self._failed, warnings
        )

    def start_parsing(self) -> None:
        """Start to parse changes."""
        self._queue.start()

    def stop_parsing(self) -> None:
        """Discard the changes that wait."""
        self._queue.stop()
        self._failed.stop()
        self._limited_log.stop()
        self._reset()

    def begin_loading(self) -> None:
        """Mark the store as loaded when the changes that wait now are parsed."""
        self._queue.begin_loading()

    def hold(self, is_held: bool) -> None:
        """Called when no more changes should be added, and when they should again."""
        raise NotImplementedError

    def get(self, name: str) -> Container | None:
        """See `IContainerStore.get`.

        While the store is loading, the document of ``name`` is read immediately if it
        is there and not large.
        """
        if not self._is_loaded:
            self._queue.read_now(name)
        return super().get(name)

    def has(self, name: str) -> bool:
        """See `IContainerStore.has`."""
        is_waiting = name in self._pending or self._queue.is_busy(name)
        return super().has(name) or name in self._failed or is_waiting

    def add(self, pending: Pending) -> None:
        """Add the last change of a container."""
        name = name_of(pending.change.key)
        self._pending.add(name, pending)
        self._queue.add_changed(name)
        if self._pending.are_many:
            self.hold(True)

    def _read(self, name: str) -> Slices[None]:
        """Process the first change of a container, in slices."""
        self._queue.dequeue(name)
        if name in self._pending:
            length = self._pending.first_length(name)
            yield from self._queue.parse(name, length, self._process(name))

    def _process(self, name: str) -> Slices[None]:
        yield from self._kept.write_before(key_of(name))
        pending = self._pending.take(name)
        if self._pending.are_few:
            self.hold(False)
        try:
            if pending.is_removal:
                self._documents.discard(name)
                self.remove(name)
            if pending.change.kv is not None:
                yield from self._parse(name, pending)
        finally:
            if name in self._pending:
                self._queue.add_changed(name)

    def _parse(self, name: str, pending: Pending) -> Slices[None]:
        """Parse a document; if it cannot be used, the last snapshot stays."""
        try:
            parsed = yield from self._parsed(name, pending.change)
        except UnreadableError as error:
            if super().get(name) is None and pending.fallback is not None:
                yield from self._fall_back(name, pending)
            self._failed.add(name, error)
            return
        # What is kept is that of the next container of this name, if there is one.
        if not self._pending.will_remove(name):
            self._kept.used(pending.change, name in self._pending)
        yield from self._use(name, parsed)
        same_id = {*self.names_with_id(parsed.container.id)} - {name}
        self._documents.add(name, "", parsed, same_id)

    def _fall_back(self, name: str, pending: Pending) -> Slices[None]:
        """Use the last good document of one that was kept and is not good."""
        change = pending.change
        if change.kv is not None:
            kv = evolve(change.kv, value=pending.fallback)
            # It was good with the limits of that time.
            with suppress(UnreadableError):
                parsed = yield from self._parsed(name, evolve(change, kv=kv))
                yield from self._use(name, parsed)

    def _parsed(self, name: str, change: Change) -> Slices[ParsedDocument]:
        """Parse a document.

        :raises UnreadableError: when it is rejected.
        """
        place, max_size = f"{self._base}{name}", self._limits.value.document_bytes
        return parse_value(name, place, change, self._access_keys, max_size)

    def _use(self, name: str, parsed: ParsedDocument) -> Slices[None]:
        """Replace the snapshot if the document differs from it."""
        old = super().get(name)
        is_equal = old and (yield from are_equal(old, parsed.container))
        if not is_equal:
            self.replace(parsed.container)
