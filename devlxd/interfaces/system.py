"""The interfaces of the reactor, of the kernel, of systemd and of scheduling."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from twisted.internet.interfaces import (
    IReactorFDSet,
    IReactorSocket,
    IReactorThreads,
    IReactorTime,
    IReactorUNIX,
)
from zope.interface import Attribute, Interface

from devlxd.model import HandedOver


class IDevLXDReactor(
    IReactorFDSet, IReactorSocket, IReactorTime, IReactorUNIX, IReactorThreads
):
    """The reactor interfaces that devlxd uses."""


class IWatcher(Interface):
    """A watcher that notifies a listener of changed entries of directories."""

    def start(listener: IWatchListener) -> None:
        """Start watching, and notify ``listener`` from now on.

        If the kernel has no resources left for the watcher, this does nothing, and
        `watch` raises the error later.
        """

    def stop() -> None:
        """Remove all watches, and stop notifying the listener."""

    def watch(directory: str) -> int:
        """Watch the entries of ``directory``; symbolic links are followed.

        :return: a number for the watch: the same number for the same directory.
        :raises OSError: ``ENOSPC`` when there are too many watches, ``EMFILE``
            when `start` found no resources, ``ENOENT`` or ``ENOTDIR`` when
            ``directory`` is not a directory; others are possible.
        """

    def unwatch(watch: int) -> None:
        """Remove a watch; do nothing if it was removed already."""

    def poll() -> bool:
        """Notify the listener of pending changes, for a few milliseconds at most.

        :return: whether the listener has been notified of all changes that
            happened before this call. If not, it is notified of the others
            later.
        """


class IWatchListener(Interface):
    """A listener for changes in watched directories."""

    def touched(watch: int, entry: str, complete: bool) -> None:
        """Called when an entry of a directory was created, changed or removed.

        :param entry: the name of the entry.
        :param complete: false while a process is writing to the entry; this is
            called again when the process has closed it.
        """

    def lost(watch: int) -> None:
        """Called when a watch has ended: its directory was removed or moved."""

    def overflowed() -> None:
        """Called when changes were lost: any entry may have changed."""


class ITurns(Interface):
    """A round-robin scheduler: one turn of each owner, then the next of each.

    All work whose amount a container determines is divided into turns: new
    connections, pipelined requests, replays of events, large documents. A turn does
    a limited amount of work, a few milliseconds at most, and schedules another turn
    for the rest. A container cannot delay the others for longer than a turn.
    """

    def take(owner: Hashable, work: Callable[[], None]) -> ITurn:
        """Call ``work`` in a new turn of ``owner``, never before this returns.

        The turns of one owner run in the order in which they were taken.

        :param owner: usually the name of a container.
        :param work: an exception that it raises is logged, and affects no other
            turn.
        """

    def waiting(owner: Hashable) -> int:
        """Return how many turns of ``owner`` are pending, including cancelled ones."""


class ITurn(Interface):
    """A turn, as returned by `ITurns.take`."""

    def cancel() -> None:
        """Cancel the turn; do nothing if it has begun already."""


class INotifier(Interface):
    """The manager of the process, such as systemd, which it tells its state.

    No method raises an exception or blocks: a manager that does not listen is no
    reason to stop (``sd_notify(3)``).
    """

    watchdog: float = Attribute(
        "Within how many seconds the manager expects `alive`; 0 if it does not."
    )

    def ready() -> None:
        """Report that the process has started, or that it has reloaded."""

    def status(text: str) -> None:
        """Report the state of the process, in one line for the operator."""

    def reloading() -> None:
        """Report that the process is reloading; `ready` follows."""

    def stopping() -> None:
        """Report that the process is about to end."""

    def alive() -> None:
        """Report that the process still works, for the watchdog."""


class IHandoverStore(Interface):
    """The place where a process leaves its connections for the next process."""

    def save(connections: Sequence[HandedOver]) -> bool:
        """Leave connections, once, when the process is about to end.

        The connections stay open for their peers. The descriptors are still the
        caller's, who closes them.

        :return: whether the connections are kept: ``False`` if there is no such place,
            or it failed. Then the caller closes the connections.
        """

    def take() -> Sequence[HandedOver]:
        """Return the connections that the last process left, and forget them.

        What cannot be read is closed, and logged in one line.

        :return: empty if there are none, and at the second call.
        """
