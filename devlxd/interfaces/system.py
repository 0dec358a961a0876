"""Seams of the host: the reactor, watched directories and turns."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.interfaces import (
    IReactorFDSet,
    IReactorSocket,
    IReactorThreads,
    IReactorTime,
    IReactorUNIX,
)
from zope.interface import Interface


class IDevLXDReactor(
    IReactorFDSet, IReactorSocket, IReactorTime, IReactorUNIX, IReactorThreads
):
    """What devlxd needs of a reactor."""


class IWatcher(Interface):
    """Who watches directories for changes of their entries."""

    def start(listener: IWatchListener) -> None:
        """Begin, and tell ``listener`` from now on.

        Where the kernel has nothing to watch with, nothing can be watched.
        """

    def stop() -> None:
        """Give up every watch."""

    def watch(directory: str) -> int:
        """Watch the entries of ``directory``; links are followed.

        :return: a number for the watch, the same one for the same directory.
        :raises OSError: ``ENOSPC`` when there are too many watches, ``EMFILE``
            when there is nothing to watch with, ``ENOENT`` or ``ENOTDIR`` when
            it is no directory, and others.
        """

    def unwatch(watch: int) -> None:
        """Give up a watch; do nothing if it is over."""

    def poll() -> bool:
        """Tell the listener of what has happened, for some milliseconds.

        :return: whether it was told, before this returns, of all that had
            happened when this was called. If not, it is told of the rest later.
        """


class IWatchListener(Interface):
    """Who hears of changed directories."""

    def touched(watch: int, entry: str, complete: bool) -> None:
        """Hear that an entry of a directory came, went or changed.

        :param complete: false when somebody has begun to write to it, and will
            be heard of when that is done.
        """

    def lost(watch: int) -> None:
        """Hear that a watch is over: its directory went, or went elsewhere."""

    def overflowed() -> None:
        """Hear that events were lost: anything may have changed."""


class ITurns(Interface):
    """Gives turns, round robin by owner, so that none keeps the others waiting.

    Whatever a container can cause without bound is done in turns: accepting,
    requests that are sent ahead, replays. A turn does a bounded amount of work,
    a few milliseconds at most, and takes the next turn for what is left.
    """

    def take(owner: Hashable, work: Callable[[], None]) -> ITurn:
        """Do ``work`` when it is ``owner``'s turn, never before this returns.

        The turns of one owner come in the order in which they were taken.

        :param owner: usually the name of a container.
        :param work: what raises an exception is logged, and costs nobody else
            a turn.
        """

    def waiting(owner: Hashable) -> int:
        """Return how many turns ``owner`` waits for, cancelled ones included."""


class ITurn(Interface):
    """A turn that was taken."""

    def cancel() -> None:
        """Do nothing when it comes; harmless when it has come."""
