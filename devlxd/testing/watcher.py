# -*- test-case-name: tests.host.test_inotify -*-
"""A watcher that does not use inotify, and a listener, for tests."""

from __future__ import annotations

import errno
import os
from itertools import count
from typing import TypeAlias

from attrs import define, field
from zope.interface import implementer

from devlxd.interfaces import IWatcher, IWatchListener

#: ``(watch, entry, complete)`` of an entry that was touched, ``("lost", watch)``, or
#: ``("overflowed",)``.
WatchNotification: TypeAlias = tuple[int, str, bool] | tuple[str, int] | tuple[str]


@implementer(IWatchListener)
@define
class RecordingWatchListener:
    """A listener that records notifications, but none of them twice.

    :ivar notifications: the recorded notifications, in order.
    :ivar fails: whether to raise `ZeroDivisionError` instead of recording.
    """

    notifications: list[WatchNotification] = field(factory=list)
    fails: bool = False

    def touched(self, watch: int, entry: str, complete: bool) -> None:
        """See `IWatchListener.touched`."""
        self._record((watch, entry, complete))

    def lost(self, watch: int) -> None:
        """See `IWatchListener.lost`."""
        self._record(("lost", watch))

    def overflowed(self) -> None:
        """See `IWatchListener.overflowed`."""
        self._record(("overflowed",))

    def _record(self, notification: WatchNotification) -> None:
        if self.fails:
            raise ZeroDivisionError("on purpose")
        if notification not in self.notifications:
            self.notifications.append(notification)


@implementer(IWatcher)
class MemoryWatcher:
    """A watcher that reports the changes that a test passes to `report`.

    The watched directories must exist, but the watcher does not observe them.

    :ivar watches: the number of each watched directory, by its real path.
    :ivar max_watches: the maximum number of watched directories.
    :ivar pending: the path of each entry that the next `poll` reports as touched,
        and whether it is complete.
    """

    def __init__(self) -> None:
        self.watches: dict[str, int] = {}
        self.max_watches = 2**31
        self._numbers = count(1)
        self.pending: list[tuple[str, bool]] = []
        self._has_overflowed = False

    def start(self, listener: IWatchListener) -> None:
        """See `IWatcher.start`."""
        self.listener = listener

    def stop(self) -> None:
        """See `IWatcher.stop`."""
        self.watches.clear()

    def watch(self, directory: str) -> int:
        """See `IWatcher.watch`."""
        path = os.path.realpath(directory)
        if not os.path.isdir(path):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if path not in self.watches:
            if len(self.watches) >= self.max_watches:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.watches[path] = next(self._numbers)
        return self.watches[path]

    def unwatch(self, watch: int) -> None:
        """See `IWatcher.unwatch`."""
        self.watches = {p: n for p, n in self.watches.items() if n != watch}

    def poll(self) -> bool:
        """See `IWatcher.poll`."""
        if self._has_overflowed:
            self._has_overflowed = False
            self.listener.overflowed()
        pending, self.pending = self.pending, []
        for path, complete in pending:
            directory, entry = os.path.split(path)
            watch = self.watches.get(os.path.realpath(directory))
            if watch is not None:
                self.listener.touched(watch, entry, complete)
        return True

    def report(self, path: str | os.PathLike[str], complete: bool = True) -> None:
        """Report, in the next `poll`, that an entry of a directory was touched.

        :param path: the path of the entry.
        :param complete: see `IWatchListener.touched`.
        """
        self.pending.append((os.fspath(path), complete))

    def overflow(self) -> None:
        """Lose the pending changes, and report that in the next `poll`."""
        self.pending = []
        self._has_overflowed = True

    def report_removed(self, directory: str | os.PathLike[str]) -> None:
        """Report immediately that a watched directory was removed."""
        watch = self.watches.pop(os.path.realpath(directory))
        self.listener.lost(watch)
