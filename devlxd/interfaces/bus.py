"""Seams of what has changed: the event bus and its journal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from zope.interface import Interface

from devlxd.model import (
    Container,
    End,
    Event,
)


class IEventBus(Interface):
    """Who passes events on to the guests that want to hear them."""

    def subscribe(
        container: str,
        subscriber: ISubscriber,
        types: Collection[str],
        since: int | None = None,
    ) -> ISubscription:
        """Let ``subscriber`` hear of the events of a container from now on.

        It hears nothing before the subscription is resumed for the first time,
        and misses nothing that happens until then.

        :param container: the container's name.
        :param types: the types of events that it hears of.
        :param since: a timestamp, to hear first of what came after it.
        """

    def latest(container: str) -> int:
        """Return the present timestamp of a container, good as ``since``.

        Whoever subscribes with it later hears of everything that happens after
        this call, and of nothing that happened before.

        :param container: the container's name.
        :return: that of its last event, if there was any.
        """


class ISubscription(Interface):
    """What a subscriber holds in its hand."""

    def resume() -> None:
        """Let the subscriber receive, until it pauses."""

    def pause() -> None:
        """Hear nothing until it is resumed, and go on where it was then.

        Harmless if that is so already. Who is paused and falls too far behind is
        cut off.
        """

    def cancel() -> None:
        """Let the subscriber receive nothing any more."""


class ISubscriber(Interface):
    """One guest connection that hears events."""

    def receive(event: Event) -> None:
        """Take one event; each comes once, in order."""

    def end(reason: End) -> None:
        """Take the word that nothing more will come."""


class IJournal(Interface):
    """What is remembered of containers and their events, for who was away.

    It goes by incarnations: numbers that name one container each, and not one
    of the same name that came before or after it.

    It is its own memory: the snapshots in it have of the config and of the
    rest only what events tell of. Any method may raise
    `devlxd.events.journal.JournalError`; that costs what is remembered, and
    nothing else.
    """

    def open(namespaces: Collection[str]) -> None:
        """Begin to record, unless the journal is open already.

        All other methods fail before that. What was recorded with other
        namespaces is removed: the snapshots lack what to compare with.

        :param namespaces: what the config keys begin with whose changes are
            events.
        """

    def close() -> None:
        """Ask nothing any more."""

    def set_complete(complete: bool) -> None:
        """Note whether all that was told was recorded.

        What is incomplete when it is closed is forgotten when it is opened.
        """

    def names() -> Mapping[str, int]:
        """Return the last incarnation of each name."""

    def incarnations() -> Collection[int]:
        """Return all incarnations of which something is known."""

    def latest() -> int:
        """Return the timestamp of the last event of all, or 0."""

    def last(incarnation: int) -> tuple[Container, int] | None:
        """Return the last snapshot that was recorded, and its timestamp."""

    def prepare(container: Container, events: Sequence[Event]) -> Iterator[None]:
        """Do in small steps what `record` of the same values would take long for.

        :return: an iterator that yields after each step.
        """

    def record(
        incarnation: int,
        container: Container,
        since: int,
        timestamp: int,
        events: Sequence[Event],
    ) -> None:
        """Remember a snapshot and the events that led to it, both or nothing.

        :param since: for an incarnation that is not known: the timestamp from
            which on nothing is missing.
        :param timestamp: that of the last event, if there is any.
        """

    def forget(incarnation: int) -> None:
        """Remember nothing of an incarnation any more."""

    def since(
        incarnation: int, timestamp: int, types: Collection[str], most: int
    ) -> tuple[int | None, Sequence[Event], bool]:
        """Return some events of an incarnation after a time, the oldest first.

        However many there are it takes a few milliseconds at most.

        :param types: the types of the events.
        :param most: how long all of them may be, in bytes; if there are any,
            one is returned however long it is.
        :return: the timestamp from which on nothing is missing, ``None`` where
            nothing is known; the events; and whether these are all.
        """
