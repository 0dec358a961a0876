# -*- test-case-name: tests.containers.test_directory_large -*-
"""The queue of the documents in a directory that are to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger

from devlxd.limits import CurrentLimits
from devlxd.turns import Slices, cooperator, finish

#: How long documents are read until the reactor does other work, in seconds.
SLICE = 0.002

#: The minimum length of a large document, in bytes. Large documents are read
#: concurrently, in turns.
LARGE = 64 * 1024


class ReadingQueue:
    """A queue that reads documents one after the other, in slices.

    Documents that were reported as changed are read first. A document is not read
    while it is being written, or while its last read is not complete. Large documents
    are parsed concurrently, while the queue continues.

    Documents are identified by the names of their containers.

    :param reactor: does other work between the slices.
    :param read: called with a name; returns the slices that read the document. An
        exception that they raise is logged.
    :param limits: how many large documents are read concurrently (each needs memory of
        about ten times its length), and how long a document is regarded as being
        written: the end of a write may never be reported. Loading waits for such a
        document no longer than this.
    :param loaded: called when all documents have been read that were in the queue
        at `begin_loading`. A document that is being written is read afterwards.
    """

    _log = Logger()
    _cooperator: Cooperator

    def __init__(
        self,
        reactor: IReactorTime,
        read: Callable[[str], Slices[None]],
        loaded: Callable[[], None],
        limits: CurrentLimits,
    ) -> None:
        self._reactor = reactor
        self._read = read
        self._loaded = loaded
        self._limits = limits
        # Documents to read, in this order: those that have changed, and those that
        # may have changed.
        self._changed: dict[str, None] = {}
        self._unchecked: dict[str, None] = {}
        # Documents that are being written, and since when.
        self._written: dict[str, float] = {}
        # Documents that have not been read since `begin_loading`, and its time.
        self._unread: set[str] = set()
        self._loading_since = 0.0
        # Documents that are being read, and the large ones among them.
        self._reading: set[str] = set()
        self._large: set[str] = set()
        # Large documents that wait until others have been read.
        self._postponed: dict[str, None] = {}
        self._is_running = False
        self._is_working = False

    def start(self) -> None:
        """Start reading."""
        self._is_running = True
        self._cooperator = cooperator(self._reactor, SLICE)
        self._work()

    def stop(self) -> None:
        """Stop reading, and abandon the documents that are being read."""
        self._is_running = False
        self._cooperator.stop()

    def begin_loading(self) -> None:
        """Call ``loaded`` when all documents now in the queue have been read."""
        self._unread = {*self._changed, *self._unchecked}
        self._loading_since = self._reactor.seconds()
        if not self._unread:
            self._loaded()

    def add_changed(self, name: str) -> None:
        """Queue a document that has changed."""
        self._changed[name] = None
        self._work()

    def add_unchecked(self, name: str) -> None:
        """Queue a document that may have changed."""
        self._unchecked[name] = None
        self._work()

    def write_begun(self, name: str) -> None:
        """Record that a document is being written, and must not be read."""
        self._written[name] = self._reactor.seconds()
        self._changed.pop(name, None)

    def write_ended(self, name: str) -> None:
        """Record that a write is complete, and queue the document."""
        self._written.pop(name, None)
        self.add_changed(name)

    def reports_lost(self) -> None:
        """Discard all reports, because later reports of writes may have been lost."""
        self._unchecked.update(self._changed)
        self._changed.clear()
        self._written.clear()

    def dequeue(self, name: str) -> bool:
        """Remove a document from the queue; return whether it has changed."""
        has_changed = name in self._changed
        self._changed.pop(name, None)
        self._unchecked.pop(name, None)
        return has_changed

    def is_unread(self, name: str) -> bool:
        """Return whether a document has not been read yet since `begin_loading`."""
        return name in self._unread

    def is_busy(self, name: str) -> bool:
        """Return whether a document is being read, or postponed as a large one."""
        return name in self._reading or name in self._postponed

    @property
    def _write_timeout(self) -> float:
        return self._limits.value.write_timeout

    def is_being_written(self, name: str) -> bool:
        """Return whether a document is being written, for a limited time."""
        since = self._written.get(name)
        if since is None or since + self._write_timeout >= self._reactor.seconds():
            return since is not None
        del self._written[name]
        return False

    def was_reported(self, name: str) -> bool:
        """Return whether a change was reported since `dequeue`.

        If so, content that was read since then may be incomplete, even if the end
        of a write was reported: the document may have been created, written and
        closed since the last report, and read in between.
        """
        return self._is_queued(name) or name in self._written

    def _is_queued(self, name: str) -> bool:
        return name in self._changed or name in self._unchecked

    def read_now(self, name: str) -> None:
        """Read a document immediately if it is small and has not been read yet."""
        if name in self._unread and not self.is_busy(name):
            finish(self._guard(name, self._read(name)))

    def parse(self, name: str, size: int, slices: Slices[None]) -> Slices[None]:
        """Parse a document; if it is large, in turns with others.

        :param size: the length of the document, in bytes.
        :param slices: the slices that parse it. If it is large, and as many
            others as permitted are being parsed, the slices are dropped, and the
            document is read again after one of these.
        """
        if size <= LARGE:
            yield from self._mark_reading(name, slices)
        elif len(self._large) < self._limits.value.large_documents:
            self._large.add(name)
            self._reading.add(name)
            self._cooperator.cooperate(
                self._guard(name, self._parse_large(name, slices))
            )
        else:
            self._postponed[name] = None

    def _parse_large(self, name: str, slices: Slices[None]) -> Slices[None]:
        try:
            yield from self._mark_reading(name, slices)
        finally:
            self._large.discard(name)
            if self._postponed:
                postponed = next(iter(self._postponed))
                del self._postponed[postponed]
                self._changed[postponed] = None
            self._work()

    def _mark_reading(self, name: str, slices: Slices[None]) -> Slices[None]:
        self._reading.add(name)
        try:
            yield from slices
        finally:
            self._reading.discard(name)

    def _work(self) -> None:
        is_idle = self._is_running and not self._is_working
        if is_idle and (self._changed or self._unchecked):
            self._is_working = True
            self._cooperator.cooperate(self._read_all())

    def _read_all(self) -> Iterator[None]:
        while (name := self._next()) is not None:
            yield from self._guard(name, self._read(name))
            yield
        self._is_working = False

    def _next(self) -> str | None:
        queued = chain(self._changed, self._unchecked)
        return next((name for name in queued if name not in self._reading), None)

    def _guard(self, name: str, slices: Slices[None]) -> Slices[None]:
        """Run ``slices``, log an exception, and check if loading is complete."""
        try:
            yield from slices
        except Exception:
            self._log.failure(
                "reading container {name} failed, keeping its last snapshot if it has "
                "one",
                name=name,
            )
        if name in self._unread and not self._will_be_read(name):
            self._unread.remove(name)
            if not self._unread:
                self._loaded()

    def _will_be_read(self, name: str) -> bool:
        """Return whether loading waits for a document that has had its turn."""
        if self.is_busy(name) or self._is_queued(name):
            return True
        loading_for = self._reactor.seconds() - self._loading_since
        is_loading_long = loading_for >= self._write_timeout
        return self.is_being_written(name) and not is_loading_long
