# -*- test-case-name: tests.events.test_bus -*-
"""Who hears of a container: one list of its events, and a place in it for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import ISubscriber, ISubscription, ITurn
from devlxd.model import End, Event

#: An event, or why there are no more.
_Told = TypeVar("_Told")

#: How much a subscriber is sent at a time, in bytes, and what each event counts
#: at least.
BATCH = 64 * 1024
_LEAST = 512

#: How much a subscriber may be behind.
MAX_QUEUED_EVENTS = 2000
MAX_QUEUED_BYTES = 4 * 1024 * 1024


class Node:
    """A place in the list of events: after one event, and before the next.

    However many subscribers are behind, what they have not read is there once:
    as long as one of them is somewhere before it.

    :ivar event: the event.
    :ivar next: the next place, if anything has happened since.
    :ivar run: the last place of a run of events of one type, in a list that all
        places of the run but the last share: who does not want them goes there.
    :ivar count: how many events there were until here.
    :ivar size: how long these were, in bytes.
    """

    __slots__ = ("count", "event", "next", "run", "size")

    def __init__(self, event: Event | None = None, before: Node | None = None) -> None:
        self.event = event
        self.next: Node | None = None
        self.run: list[Node] | None = None
        self.count: int = before.count + 1 if before else 0
        size = event.size if event else 0
        self.size: int = before.size + size if before else 0


class Chain:
    """Events that were made, and that nobody hears of before they are linked.

    :param end: the last place of the list that they are to be added to.
    :ivar events: these events.
    :ivar last: the last place, in the end.
    """

    def __init__(self, end: Node) -> None:
        self._end = end
        self._first: Node | None = None
        self._run: list[Node] = []
        self.last = end
        self.events: list[Event] = []

    def add(self, event: Event) -> None:
        """Add an event."""
        node = Node(event, self.last)
        if self._first is None:
            self._first, self._run = node, [node]
        else:
            self.last.next = node
            if self.events[-1].type == event.type:
                self.last.run, self._run[0] = self._run, node
            else:
                self._run = [node]
        self.last = node
        self.events.append(event)

    def link(self) -> None:
        """Let them be heard of."""
        self._end.next = self._first


class IReplay(Protocol):
    """What a subscriber has missed."""

    def fetch(self) -> Sequence[Event]:
        """Return the next events, the oldest first."""

    @property
    def end(self) -> Node | None:
        """The place where to go on when there is nothing more to fetch."""

    def close(self) -> None:
        """Fetch nothing any more."""


@implementer(ISubscription)
class Subscription:
    """One subscriber, and how far it has read.

    :param subscriber: who hears.
    :param types: the types of events that it hears of.
    :param take_turn: lets something be done when it is the container's turn.
    :param cancelled: is told, once, when it is over.
    :param place: where in the list it begins; or...
    :param replay: ...what it hears first.
    :param end: why nothing will come, if that is known.
    """

    _log = Logger()

    def __init__(
        self,
        subscriber: ISubscriber,
        types: Collection[str],
        take_turn: Callable[[Callable[[], None]], ITurn],
        cancelled: Callable[[Subscription], None] = lambda _: None,
        place: Node | None = None,
        replay: IReplay | None = None,
        end: End | None = None,
    ) -> None:
        self._subscriber: ISubscriber | None = subscriber
        self._types = types
        self._take_turn = take_turn
        self._cancelled: Callable[[Subscription], None] | None = cancelled
        self._place = place
        self._replay = replay
        self._end = end
        self._fetched: deque[Event] = deque()
        self._turn: ITurn | None = None
        self._paused = True
        self._delivering = False

    def resume(self) -> None:
        """See `ISubscription.resume`."""
        self._paused = False
        if self._turn is None:
            self._deliver()

    def pause(self) -> None:
        """See `ISubscription.pause`."""
        self._paused = True

    def cancel(self) -> None:
        """See `ISubscription.cancel`.

        Nothing refers to the subscriber, or to anything else, when it is over.
        """
        cancelled, self._cancelled = self._cancelled, None
        if cancelled is None:
            return
        if self._turn is not None:
            self._turn.cancel()
        if self._replay is not None:
            self._replay.close()
        self._subscriber = self._place = self._replay = self._turn = None
        self._fetched.clear()
        cancelled(self)

    @property
    def is_behind(self) -> bool:
        """Whether there is something that it wants to hear, and has not."""
        return self._next_wanted() is not None

    def heard(self, at_once: int) -> int:
        """Deliver what there is to hear now.

        :param at_once: how much may be delivered before this returns, in bytes:
            the rest takes turns.
        :return: how much was.
        """
        if self._paused or self._replay is not None or self._turn is not None:
            return 0
        if at_once > 0:
            return self._deliver()
        if self._next_wanted() is not None:
            self._go_on_later()
        return 0

    def cut_if_slow(self, last: Node) -> None:
        """Cut it off if it does not read, and is too far behind.

        :param last: the last place of the list.
        """
        place = self._place
        if (
            self._paused
            and place is not None
            and (
                last.count - place.count > MAX_QUEUED_EVENTS
                or last.size - place.size > MAX_QUEUED_BYTES
            )
        ):
            self.end_now(End.TOO_SLOW)

    def end_with(self, reason: End) -> None:
        """Let this be the last that the subscriber hears, after all events."""
        self._end = reason
        if self._turn is None:
            self._deliver()

    def end_now(self, reason: End) -> None:
        """Let this be the last that the subscriber hears, and at once."""
        subscriber = self._subscriber
        if subscriber is not None:
            self.cancel()
            self._call(subscriber.end, reason)

    def _next_wanted(self) -> Event | None:
        """Return the next event; what the subscriber does not want is skipped."""
        if self._fetched:
            return self._fetched[0]
        place = self._place
        while place is not None and place.next is not None:
            event = place.next.event
            if event is not None and event.type in self._types:
                return event
            run = place.next.run
            self._place = place = run[0] if run else place.next
        return None

    def _step(self) -> None:
        if self._fetched:
            self._fetched.popleft()
        elif self._place is not None:
            self._place = self._place.next

    def _deliver(self) -> int:
        """Deliver a batch, if there is so much, and take a turn for the rest.

        :return: how much it was.
        """
        # A subscriber may pause, cancel or cause further events while it
        # receives one.
        if self._delivering or self._subscriber is None:
            return 0
        self._delivering = True
        try:
            delivered = 0 if self._paused else self._deliver_batch()
        finally:
            self._delivering = False
        if self._replay is not None or self._next_wanted() is not None:
            if not self._paused:
                self._go_on_later()
        elif self._end is not None:
            self.end_now(self._end)
        return delivered

    def _deliver_batch(self) -> int:
        if self._replay is not None and not self._fetched:
            self._fetch(self._replay)
        delivered = 0
        while delivered < BATCH and not self._paused:
            subscriber, event = self._subscriber, self._next_wanted()
            if subscriber is None or event is None:
                break
            self._step()
            size = event.size
            delivered += size if size > _LEAST else _LEAST
            self._call(subscriber.receive, event)
        return delivered

    def _fetch(self, replay: IReplay) -> None:
        self._fetched.extend(replay.fetch())
        if replay.end is not None:
            self._place, self._replay = replay.end, None
            replay.close()

    def _go_on_later(self) -> None:
        if self._turn is None and self._subscriber is not None:
            self._turn = self._take_turn(self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        self._deliver()

    def _call(self, what: Callable[[_Told], None], told: _Told) -> None:
        """A subscriber that fails costs itself its subscription, nobody else."""
        try:
            what(told)
        except Exception:
            self._log.failure("a subscriber failed")
            self.end_now(End.FAILED)
