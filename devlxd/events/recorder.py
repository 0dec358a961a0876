# -*- test-case-name: tests.events.test_recorder -*-
"""The recorder: writes events to the journal, and retries after failures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from devlxd.events.incarnation import Incarnation, are_certainly_same, new_number
from devlxd.events.replay import Replay, SharedEvents
from devlxd.interfaces import (
    IContainerStore,
    IJournal,
    ITurn,
    ITurns,
    JournalError,
    JournalReplacedError,
)
from devlxd.limits import CurrentLimits
from devlxd.model import Container, Event

#: How long after the store was loaded a container may be missing before its events
#: are removed, in seconds.
FORGET_AFTER = 60.0

#: The delay of the retry after a failure of the journal, in seconds.
RETRY = 10.0


class Recorder:
    """A recorder, which keeps the journal consistent with the containers of the bus.

    When the journal fails:

    * The failure is logged once, until events are recorded again.
    * Subscriptions that have read all recorded events receive all later ones. Others
      receive ``lost``: those that still read recorded events, and new ones with a
      ``since`` before the failure.
    * Every `RETRY` seconds the recorder tries to write the missing snapshots, and to
      remove the events of removed containers.

    :param journal: contains the events.
    :param reactor: schedules retries.
    :param turns: runs the retries, in turns.
    :param namespaces: see `IJournal.open`.
    :param in_use: returns the incarnations whose events must stay in the journal.
    :param limits: how many events of a change are kept.
    """

    _log = Logger()

    def __init__(
        self,
        journal: IJournal,
        reactor: IReactorTime,
        turns: ITurns,
        namespaces: Collection[str],
        in_use: Callable[[], Collection[Incarnation]],
        limits: CurrentLimits,
    ) -> None:
        self._journal = journal
        self._reactor = reactor
        self._turns = turns
        self._namespaces = namespaces
        self._in_use = in_use
        self._limits = limits
        #: The events in memory; see `Replay`.
        self._shared: SharedEvents = SharedEvents()
        #: The incarnation numbers of the last process, by the names of those containers
        #: that have not appeared again yet.
        self._missing: dict[str, int] = {}
        #: The incarnations whose last change could not be recorded.
        self._unrecorded: dict[Incarnation, None] = {}
        self._is_running = False
        self._failures = 0
        self._is_failure_logged = False
        self._removal: IDelayedCall | None = None
        self._retry: IDelayedCall | ITurn | None = None

    def start(self) -> int:
        """Open the journal.

        :return: the timestamp of the last event in it, or 0.
        """
        self._is_running = True
        try:
            self._journal.open(self._namespaces)
            self._missing = dict(self._journal.names())
            return self._journal.latest()
        except JournalError as error:
            self._failed(error)
            return 0

    def stop(self) -> None:
        """Close the journal, and cancel retries."""
        self._is_running = False
        for call in (self._removal, self._retry):
            if call is not None:
                call.cancel()
        self._removal = self._retry = None
        self._missing.clear()
        self._unrecorded.clear()
        self._journal.close()

    def restore_incarnation(self, container: Container) -> Incarnation | None:
        """Return the incarnation of a container that the last process has recorded.

        :return: ``None`` if there is none, or it may be that of another container with
            the same name.
        """
        number = self._missing.pop(container.name, None)
        if number is None:
            return None
        try:
            last = self._journal.last(number)
        except JournalError as error:
            self._failed(error)
            return None
        if last is None or not are_certainly_same(container, last[0]):
            return None
        incarnation = Incarnation(number, *last)
        incarnation.is_recorded = True
        return incarnation

    def prepare(self, snapshot: Container, events: Sequence[Event]) -> Iterator[None]:
        """See `IJournal.prepare`."""
        return self._journal.prepare(snapshot, events)

    def record(
        self, incarnation: Incarnation, since: int, events: Sequence[Event]
    ) -> None:
        """Record the current snapshot of an incarnation, and its last events.

        :param since: the timestamp of the incarnation before these events.
        """
        # The journal keeps no earlier ones.
        for event in events[-self._limits.value.kept_events :]:
            self._shared[incarnation.number, event.timestamp] = event
        try:
            self._write(incarnation, since, events)
        except JournalError as error:
            incarnation.number = new_number()
            if not incarnation.is_removed:
                self._unrecorded[incarnation] = None
            self._journal.set_complete(False)
            self._failed(error)

    def replay(
        self,
        incarnation: Incarnation,
        types: Collection[str],
        since: int,
        close: Callable[[], None],
    ) -> Replay:
        """Return the recorded events of an incarnation; see `Replay`."""
        return Replay(self._journal, self._shared, incarnation, types, since, close)

    def remove(self, incarnation: Incarnation) -> None:
        """Remove the events of an incarnation from the journal."""
        number, incarnation.number = incarnation.number, 0
        self._unrecorded.pop(incarnation, None)
        try:
            self._journal.remove(number)
        except JournalError as error:
            self._failed(error)

    def remove_missing_later(self, store: IContainerStore) -> None:
        """Remove the events of missing containers in `FORGET_AFTER` seconds.

        :param store: the store of the containers. If it is empty, nothing is removed:
            its directory is probably not mounted yet.
        """
        if self._is_running and self._removal is None:
            self._removal = self._reactor.callLater(
                FORGET_AFTER, self._remove_missing, store
            )

    def _remove_missing(self, store: IContainerStore) -> None:
        self._removal = None
        if store.names():
            for name in list(self._missing):
                if not store.has(name):
                    del self._missing[name]
        self._retry_in(0)

    def _write(
        self, incarnation: Incarnation, since: int, events: Sequence[Event]
    ) -> None:
        self._journal.record(
            incarnation.number,
            incarnation.container,
            since,
            incarnation.timestamp,
            events,
        )
        incarnation.is_recorded = True
        self._unrecorded.pop(incarnation, None)

    def _failed(self, error: JournalError) -> None:
        """Log a failure, unless an earlier one persists, and retry later."""
        if not self._is_failure_logged and not isinstance(error, JournalReplacedError):
            self._is_failure_logged = True
            self._log.error(
                "{error}; events are not recorded, devlxd tries again every "
                "{seconds} seconds",
                error=error,
                seconds=RETRY,
            )
        self._failures += 1
        self._retry_in(RETRY)

    def _retry_in(self, seconds: float) -> None:
        if self._is_running and self._retry is None:
            self._retry = self._reactor.callLater(
                seconds, self._step, self._synchronize()
            )

    def _step(self, steps: Iterator[None]) -> None:
        self._retry = None
        try:
            for _ in steps:
                self._retry = self._turns.take(self, partial(self._step, steps))
                return
        except JournalError as error:
            self._failed(error)

    def _synchronize(self) -> Iterator[None]:
        """Write missing snapshots, and remove unused incarnations, in steps."""
        failures = self._failures
        self._journal.open(self._namespaces)
        for incarnation in list(self._unrecorded):
            yield from self._write_again(incarnation)
        for number in set(self._journal.incarnations()) - self._numbers():
            self._journal.remove(number)
            yield
        if failures != self._failures:
            self._retry_in(RETRY)
        elif failures:
            self._failures = 0
            self._journal.set_complete(True)
            if self._is_failure_logged:
                self._is_failure_logged = False
                self._log.info("events are recorded again")

    def _write_again(self, incarnation: Incarnation) -> Iterator[None]:
        container = incarnation.container
        if incarnation not in self._unrecorded:
            return
        for _ in self._journal.prepare(container, ()):
            yield
            if (
                incarnation not in self._unrecorded
                or incarnation.container is not container
            ):
                # A later change was recorded, or could not be recorded.
                return
        self._write(incarnation, incarnation.timestamp, ())
        yield

    def _numbers(self) -> set[int]:
        """Return the incarnations that the journal should have."""
        return {i.number for i in self._in_use()}.union(self._missing.values())
