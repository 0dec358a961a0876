# -*- test-case-name: tests.containers.test_directory_store -*-
"""A container store in a directory, with one document for each container.

All documents are read through one queue, which contains the names of their
containers. A name is added to the queue

* when the watcher reports a change of its document,
* by a scan of the directory: at the start, regularly, and after reports were lost,
* after a read, if the watcher has changes that it has not reported yet,
* for a retry, some time after a failed read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.containers.comparison import are_equal
from devlxd.containers.directory_watches import SCAN_INTERVAL, DirectoryWatches
from devlxd.containers.document_files import Document, parse, read_document
from devlxd.containers.document_paths import (
    UnreadableError,
    find_documents,
    list_containers,
    listing_problem,
)
from devlxd.containers.document_records import DocumentRecords
from devlxd.containers.document_store import DocumentStoreBase
from devlxd.containers.document_versions import DocumentVersions, Signature
from devlxd.containers.document_warnings import NO_ACCESS_KEYS, AccessKeys
from devlxd.containers.failed_reads import FailedReads
from devlxd.containers.reading_queue import ReadingQueue
from devlxd.containers.removals import Removals
from devlxd.containers.warning_log import WarningLog
from devlxd.interfaces import IDocuments, IStoreService, IWatcher, IWatchListener
from devlxd.limits import CurrentLimits
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Container
from devlxd.turns import Slices

#: How often the directory is scanned if everything is watched, in seconds: no watch
#: reports a changed link inside a chain of links, for example.
IDLE_SCAN_INTERVAL = 60.0


@implementer(IDocuments, IStoreService, IWatchListener)
class DirectoryStore(DocumentStoreBase, Service):
    """The containers of a directory, kept up to date while the service runs.

    The directory has ``NAME.yaml``, ``NAME.yml``, ``NAME.json``,
    ``NAME/config.yaml`` or ``NAME/backup.yaml``, one of them for each container.
    If a document cannot be read, this is logged, and the last snapshot stays. The
    store never writes to the directory.

    :ivar directory: the directory.
    :param reactor: schedules reads, retries and scans.
    :param watcher: reports changes; the store starts and stops it.
    :param wall: returns the time as file systems record it, in seconds since 1970.
    :param access_keys: the config keys whose mistakes are logged.
    :param limits: the limits of documents; default: the usual ones.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        reactor: IReactorTime,
        watcher: IWatcher,
        wall: Callable[[], float] = time.time,
        access_keys: AccessKeys = NO_ACCESS_KEYS,
        limits: CurrentLimits | None = None,
    ) -> None:
        super().__init__()
        self.directory = directory
        self._reactor = reactor
        self._wall = wall
        self._access_keys = access_keys
        self._watcher = watcher
        self._limits = limits or CurrentLimits()
        self._limited_log = RateLimitedLogger(self._log, reactor, self._limits)
        self._reset()

    def _reset(self) -> None:
        """Discard all that is known about the documents, but keep the snapshots."""
        self._queue = ReadingQueue(
            self._reactor, self._read, self.mark_loaded, self._limits
        )
        self._watches = DirectoryWatches(self._watcher, self.directory)
        self._versions = DocumentVersions(self._reactor, self._wall)
        self._failed = FailedReads(self._reactor, self._limited_log, self._retry)
        self._removals = Removals(self._reactor, self._remove_missing)
        warnings = WarningLog(self._limited_log)
        self._documents = DocumentRecords.of_directory(
            self.directory, self._failed, warnings
        )
        self._next_scan: IDelayedCall | None = None

    def get(self, name: str) -> Container | None:
        """See `IContainerStore.get`.

        While the store is loading, the document of ``name`` is read immediately
        unless it is large, so that a guest does not wait for all other documents.
        """
        if not self._is_loaded:
            self._queue.read_now(name)
        return super().get(name)

    def has(self, name: str) -> bool:
        """See `IContainerStore.has`."""
        return super().has(name) or name in self._failed or self._queue.is_busy(name)

    def startService(self) -> None:
        """See `IService.startService`: read and watch the directory."""
        super().startService()
        self._queue.start()
        self._watcher.start(self)
        self._scan()
        self._queue.begin_loading()

    def stopService(self) -> None:
        """See `IService.stopService`: the snapshots stay as they are."""
        if not self.running:
            return
        super().stopService()
        self.mark_loading()
        self._queue.stop()
        self._watcher.stop()
        self._failed.stop()
        self._removals.cancel_all()
        if self._next_scan is not None and self._next_scan.active():
            self._next_scan.cancel()
        self._reset()

    def problem(self) -> str | None:
        """See `IDocuments.problem`."""
        return listing_problem(self.directory)

    def reload(self) -> None:
        """Read every document again, even if it is unchanged.

        Warnings are logged again. A document that is being written is read when
        the write is complete. Does nothing while the service is stopped.
        """
        if not self.running:
            return
        path = str(self.directory)
        self._log.info("reading all documents in {path} again", path=path)
        self._versions.discard_all()
        self._documents.warn_again()
        self._scan()

    def touched(self, watch: int, entry: str, complete: bool) -> None:
        """See `IWatchListener.touched`."""
        report = self._queue.write_ended if complete else self._queue.write_begun
        for name in self._watches.affected(watch, entry):
            report(name)

    def lost(self, watch: int) -> None:
        """See `IWatchListener.lost`."""
        for name in self._watches.remove_watch(watch):
            self._queue.add_changed(name)
        if self._watches.is_directory(watch):
            self._scan()

    def overflowed(self) -> None:
        """See `IWatchListener.overflowed`."""
        self._log.info(
            "changes in {path} were lost, scanning all documents",
            path=str(self.directory),
        )
        self._queue.reports_lost()
        self._scan()

    def _scan(self) -> None:
        """Queue the containers that have a document, a failed read or a snapshot."""
        if self._next_scan is not None and self._next_scan.active():
            self._next_scan.cancel()
        self._watches.watch_directory()
        names = self._list_containers()
        for name in (*(names or ()), *self._failed, *self.names()):
            self._queue.add_unchecked(name)
        is_complete = self._watches.is_complete and names is not None
        interval = IDLE_SCAN_INTERVAL if is_complete else SCAN_INTERVAL
        self._next_scan = self._reactor.callLater(interval, self._scan)

    def _list_containers(self) -> set[str] | None:
        """Return the names of all containers in the directory; ``None`` if unknown."""
        try:
            return list_containers(self.directory)
        except OSError as error:
            self._limited_log.error(
                "{path}: cannot be listed ({error.strerror}), retrying",
                of=("", error.errno),
                path=str(self.directory),
                error=error,
            )
            return None

    def _scan_soon(self) -> None:
        """Scan within `SCAN_INTERVAL` seconds."""
        scan = self._next_scan
        if scan is None or not scan.active():
            return
        if scan.getTime() - self._reactor.seconds() > SCAN_INTERVAL:
            scan.reset(SCAN_INTERVAL)

    def _read(self, name: str) -> Slices[None]:
        """Read the document of the container ``name``, in slices."""
        has_changed = self._queue.dequeue(name)
        if self._queue.is_being_written(name):
            return
        # Watch before reading, so that no change in between is missed.
        self._watches.watch_for(name)
        if not self._watches.is_complete:
            self._scan_soon()
        document, signature, problem = None, None, None
        try:
            paths = find_documents(self.directory, name)
            signature = self._versions.signature(paths)
            if not has_changed:
                if self._versions.was_read(name, signature):
                    return
                # The first version of a document need not have settled.
                is_first = not super().has(name) or self._queue.is_unread(name)
                if signature is None and not is_first:
                    self._versions.check_settled(name, paths)
            document = read_document(name, paths, self._limits.value.document_bytes)
        except UnreadableError as error:
            problem = error
        if not self._watcher.poll():
            # Some changes have not been reported yet.
            self._queue.add_changed(name)
        if self._queue.was_reported(name):
            return
        # Without a signature, the next scan reads it again if this read fails.
        self._versions.discard(name)
        if problem is not None:
            self._removals.cancel(name)
            self._failed.add(name, problem)
        elif document is None:
            self._found_missing(name)
        else:
            slices = self._parse(name, document, signature)
            yield from self._queue.parse(name, len(document.content), slices)

    def _parse(
        self, name: str, document: Document, signature: Signature
    ) -> Slices[None]:
        """Parse a document, and replace the snapshot if it differs."""
        try:
            parsed = yield from parse(name, document, self._access_keys)
            old = super().get(name)
            is_equal = old and (yield from are_equal(old, parsed.container))
        except UnreadableError as error:
            self._versions.record(name, signature)
            self._removals.cancel(name)
            # The last snapshot stays.
            self._failed.add(name, error)
            return
        self._versions.record(name, signature)
        self._removals.cancel(name)
        # The container may have been removed while it was compared.
        if not is_equal or super().get(name) is not old:
            self.replace(parsed.container)
        same_id = {*self.names_with_id(parsed.container.id)} - {name}
        self._documents.add(name, document.path.end, parsed, same_id)

    def _retry(self, name: str) -> None:
        self._versions.discard(name)
        self._queue.add_unchecked(name)

    def _found_missing(self, name: str) -> None:
        """Schedule the removal of a container that has no document."""
        self._versions.remove(name)
        self._documents.discard(name)
        if super().has(name):
            self._removals.schedule(name)

    def _remove_missing(self, name: str) -> None:
        # There may be a new document that was not reported.
        self._queue.add_changed(name)
        with suppress(UnreadableError):
            if not find_documents(self.directory, name):
                self.remove(name)
