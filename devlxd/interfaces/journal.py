"""The interface of the journal, which records events for later subscribers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from zope.interface import Interface

from devlxd.model import Container, Event


class JournalError(Exception):
    """Raised when a journal cannot be used; the text is one line for the log."""


class JournalLockedError(JournalError):
    """Raised when another process uses the journal."""


class JournalReplacedError(JournalError):
    """Raised when a damaged journal was replaced; the journal has logged this."""


class JournalVersionError(JournalError):
    """Raised when the journal was created by a newer devlxd, and cannot be read."""


class IJournal(Interface):
    """A record of the last snapshot and the last events of each container.

    The journal identifies containers by incarnations: numbers below 2 ** 63. A
    container that is removed and created again with the same name is a different
    container, and has another incarnation.

    A recorded snapshot has the config keys of the namespaces passed to `open`,
    ``volatile.uuid``, all devices, the id and the origin.

    :raises JournalError: by any method, when the journal cannot be read or written.
    """

    def open(namespaces: Collection[str]) -> None:
        """Open the journal; harmless if it is open.

        Until then, only `close` may be called.

        A journal that was recorded with other namespaces is emptied: its snapshots
        have other config keys, and the differences would look like changes.

        :param namespaces: the prefixes of the config keys whose changes are events.
        """

    def close() -> None:
        """Close the journal; harmless if it is not open."""

    def size() -> int:
        """Return how much space the journal takes in the file system, in bytes.

        :return: 0 if the journal has no files. This may be called at any time.
        """

    def set_complete(complete: bool) -> None:
        """Set whether the journal has the last snapshot of every container.

        If not, it is incomplete. A journal that is incomplete when it is closed is
        emptied when it is opened again.
        """

    def names() -> Mapping[str, int]:
        """Return, for each container name, the incarnation that was added last."""

    def incarnations() -> Collection[int]:
        """Return all recorded incarnations."""

    def latest() -> int:
        """Return the latest timestamp of any container; 0 if none is recorded."""

    def last(incarnation: int) -> tuple[Container, int] | None:
        """Return the last snapshot of an incarnation, and its timestamp.

        :return: ``None`` if the incarnation is not recorded.
        """

    def prepare(container: Container, events: Sequence[Event]) -> Iterator[None]:
        """Do the slow work of a call of `record` in advance, in small steps.

        `record` must then be called with the same objects as container and events.

        :return: an iterator that yields after each step.
        """

    def record(
        incarnation: int,
        container: Container,
        since: int,
        timestamp: int,
        events: Sequence[Event],
    ) -> None:
        """Record a snapshot and the events that led to it: either both or neither.

        :param since: for a new incarnation: the timestamp after which no event is
            missing.
        :param timestamp: the timestamp of the last event, or of the snapshot if there
            are no events.
        :param events: in the order of their timestamps. The journal need not keep all
            of them.
        """

    def remove(incarnation: int) -> None:
        """Remove an incarnation and its events; harmless if it is not recorded."""

    def since(
        incarnation: int, timestamp: int, types: Collection[str], max_bytes: int
    ) -> tuple[int | None, Sequence[Event], bool]:
        """Return some of the events after a timestamp, the oldest first.

        Takes a few milliseconds at most, however many events there are.

        :param types: the types of the events.
        :param max_bytes: the maximum sum of the sizes of the events, in bytes. At least
            one event is returned if there is any, even if it is larger.
        :return: the timestamp after which no event is missing, or ``None`` if the
            incarnation is not recorded; the events; and whether these are all.
        """
