# -*- test-case-name: tests.host.test_inotify -*-
"""A watcher of directories on the kernel's inotify (``inotify(7)``).

Twisted's own `INotify` ignores queue overflows, and closes every watch when one
directory is removed (https://github.com/twisted/twisted/issues/6722 and
https://github.com/twisted/twisted/issues/9777).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
import termios
import time
from array import array
from collections.abc import Callable, Iterator
from functools import partial

from inotify_simple import Event, flags, parse_events
from inotify_simple import INotify as KernelINotify
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import LoopingCall, SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.interfaces import IDevLXDReactor, IWatcher, IWatchListener
from devlxd.turns import cooperator

#: Events after which an entry is complete (its writer has closed it) or gone.
_COMPLETE = flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE

#: The events that are requested for each directory.
_MASK = (
    _COMPLETE
    | flags.CREATE
    | flags.MODIFY
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
    | flags.EXCL_UNLINK
)

#: Events after which a watch has ended, or its path leads to another directory.
_LOST = flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT | flags.IGNORED

#: How often to check whether the mount table has changed, in seconds. A watch
#: reports nothing when a file system is mounted over its directory.
MOUNTS_INTERVAL = 1.0

#: For how long events are delivered before the reactor continues, in seconds.
SLICE = 0.003

#: How many bytes of events are read at a time: about a hundred events.
CHUNK = 4096

#: How many watched directories are checked in one step when mounts have changed.
_DIRECTORIES_PER_SLICE = 20

#: The device and the inode of a directory.
_FileID = tuple[int, int]


def _file_id(path: str) -> _FileID | None:
    """Return the device and inode of ``path``; ``None`` if it cannot be found."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@implementer(IWatcher, IReadDescriptor)
class INotify:
    """A watcher that uses inotify.

    :param reactor: calls `doRead` when there are events, and provides the time.
    """

    _log = Logger()

    def __init__(self, reactor: IDevLXDReactor) -> None:
        self._reactor = reactor
        self._inotify: KernelINotify | None = None
        self._watched: dict[int, tuple[str, _FileID | None]] = {}

    def start(self, listener: IWatchListener) -> None:
        """See `IWatcher.start`."""
        self._listener = listener
        self._watched = {}
        try:
            self._inotify = KernelINotify(nonblocking=True)
        except OSError as error:
            self._error = error
            return
        self._reactor.addReader(self)
        self._mounts = open("/proc/self/mountinfo", "rb")  # noqa: SIM115 # until stop()
        self._mounts_changed = select.poll()
        self._mounts_changed.register(self._mounts, select.POLLPRI)
        self._mounts_changed.poll(0)
        self._cooperator = cooperator(self._reactor, SLICE)
        self._mounts_call = LoopingCall(self._check_mounts)
        self._mounts_call.clock = self._reactor
        self._mounts_call.start(MOUNTS_INTERVAL, now=False)

    def stop(self) -> None:
        """See `IWatcher.stop`."""
        if self._inotify is not None:
            self._reactor.removeReader(self)
            self._inotify.close()
            self._inotify = None
            self._mounts_call.stop()
            self._cooperator.stop()
            self._mounts.close()

    def watch(self, directory: str) -> int:
        """See `IWatcher.watch`."""
        if self._inotify is None:
            raise self._error
        file_id = _file_id(directory)
        watch: int = self._inotify.add_watch(directory, _MASK)
        self._watched.setdefault(watch, (directory, file_id))
        return watch

    def unwatch(self, watch: int) -> None:
        """See `IWatcher.unwatch`."""
        known = self._watched.pop(watch, None)
        if self._inotify is not None and known is not None:
            # EINVAL: the kernel has removed it, and its IN_IGNORED is in the queue.
            with contextlib.suppress(OSError):
                self._inotify.rm_watch(watch)

    def _check_mounts(self) -> Deferred[None] | None:
        """If the mount table has changed, remove the watches that this affects.

        :return: a Deferred that fires when all watches have been checked.
        """
        if not self._mounts_changed.poll(0):
            return None
        done = self._cooperator.cooperate(self._check_directories()).whenDone()
        return done.addCallbacks(lambda _: None, lambda f: f.trap(SchedulerStopped))

    def _check_directories(self) -> Iterator[None]:
        """Remove the watches whose paths lead to other directories now."""
        for number, watch in enumerate(list(self._watched), 1):
            directory, file_id = self._watched.get(watch, ("", None))
            if directory and _file_id(directory) != file_id:
                self._call_listener(partial(self._remove, watch))
            if number % _DIRECTORIES_PER_SLICE == 0:
                yield

    def _remove(self, watch: int) -> None:
        """Remove a watch, and notify the listener."""
        self.unwatch(watch)
        self._listener.lost(watch)

    def poll(self) -> bool:
        """See `IWatcher.poll`."""
        # Events that are added meanwhile are left for the next call.
        left = self._queued_bytes()
        end = time.perf_counter() + SLICE
        while left > 0 and self._inotify is not None:
            events = os.read(self.fileno(), CHUNK)
            left -= len(events)
            for event in parse_events(events):
                self._call_listener(partial(self._deliver, event))
            if left > 0 and time.perf_counter() >= end:
                return False
        return True

    def _queued_bytes(self) -> int:
        """Return the length of the kernel's queue of events, in bytes."""
        if self._inotify is None:
            return 0
        length = array("i", [0])
        fcntl.ioctl(self.fileno(), termios.FIONREAD, length)
        return length[0]

    def _call_listener(self, call: Callable[[], None]) -> None:
        """Call the listener; log an exception, so that later events are delivered."""
        try:
            call()
        except Exception:
            self._log.failure(
                "the listener of a watched directory failed; its event is ignored"
            )

    def _deliver(self, event: Event) -> None:
        if event.mask & flags.Q_OVERFLOW:
            self._listener.overflowed()
        elif event.wd not in self._watched:
            pass  # An event of a watch that has been removed since.
        elif event.mask & _LOST and not event.name:
            self._remove(event.wd)
        else:
            complete = event.mask & _COMPLETE or self._is_created_complete(event)
            self._listener.touched(event.wd, event.name, complete=bool(complete))

    def _is_created_complete(self, event: Event) -> bool:
        """Return whether an event is about a new entry that is complete already.

        A directory, a symbolic link or a hard link is. A new regular file is not: it
        is written to first, and then closed. An entry that is gone already counts as
        complete.
        """
        if not event.mask & flags.CREATE:
            return False
        directory, _ = self._watched[event.wd]
        try:
            status = os.lstat(os.path.join(directory, event.name))
        except OSError:
            return True
        return not stat.S_ISREG(status.st_mode) or status.st_nlink > 1

    # IReadDescriptor

    def fileno(self) -> int:
        """See `IFileDescriptor.fileno`; -1 when the watcher is stopped."""
        return -1 if self._inotify is None else int(self._inotify.fileno())

    def doRead(self) -> None:
        """See `IReadDescriptor.doRead`; deliver events to the listener."""
        self.poll()

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor.connectionLost`; `stop` closes the descriptor."""

    def logPrefix(self) -> str:
        """See `ILoggingContext.logPrefix`."""
        return "devlxd"
