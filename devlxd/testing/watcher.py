# -*- test-case-name: tests -*-
"""Watched directories in memory."""

from __future__ import annotations

import errno
import os
from itertools import count

from zope.interface import implementer

from devlxd.interfaces import (
    IWatcher,
    IWatchListener,
)


@implementer(IWatcher)
class MemoryWatcher:
    """Hears of what it is told.

    :ivar watches: the watched directories, each with its number.
    :ivar room: how many directories can be watched.
    """

    def __init__(self) -> None:
        self.watches: dict[str, int] = {}
        self.room = 2**31
        self._numbers = count(1)
        self._told: list[tuple[str, bool]] = []

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
            if len(self.watches) >= self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.watches[path] = next(self._numbers)
        return self.watches[path]

    def unwatch(self, watch: int) -> None:
        """See `IWatcher.unwatch`."""
        self.watches = {p: n for p, n in self.watches.items() if n != watch}

    def poll(self) -> bool:
        """See `IWatcher.poll`."""
        told, self._told = self._told, []
        for path, complete in told:
            directory, entry = os.path.split(path)
            watch = self.watches.get(os.path.realpath(directory))
            if watch is not None:
                self.listener.touched(watch, entry, complete)
        return True

    def tell(self, path: str | os.PathLike[str], complete: bool = True) -> None:
        """Hear, with the next `poll`, that an entry of a directory was touched."""
        self._told.append((os.fspath(path), complete))

    def lose(self, directory: str | os.PathLike[str]) -> None:
        """Hear that a directory is gone."""
        watch = self.watches.pop(os.path.realpath(directory))
        self.listener.lost(watch)
