# -*- test-case-name: tests.host.test_inotify -*-
"""The kernel's inotify as an IReadDescriptor.

Twisted's own drops the kernel's word that events were lost, and closes every
watch when one directory goes (twisted #6722, #9777).
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
from inotify_simple import INotify as _INotify
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import LoopingCall, SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.interfaces import IDevLXDReactor, IWatcher, IWatchListener
from devlxd.turns import cooperator

#: After these an entry is what it is, until it is written to again.
_COMPLETE = flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE

#: What is asked of the kernel for each directory.
_MASK = (
    _COMPLETE
    | flags.CREATE
    | flags.MODIFY
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
    | flags.EXCL_UNLINK
)

#: After these a watch is over, or tells of another place than it was made for.
_LOST = flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT | flags.IGNORED

#: How often the table of mounts is asked whether it has changed, in seconds: of
#: what is mounted over a directory its watch tells nothing.
MOUNTS_INTERVAL = 1.0

#: For how long events are handed over before the reactor does something else, in
#: seconds, and how many bytes of them are read at a time: a hundred or so.
SLICE = 0.003
CHUNK = 4096

#: How many watches are compared with the table of mounts in one slice.
_PLACES = 20

#: What tells whether a path leads where it did: its device and its inode.
_Place = tuple[int, int]


def _place_of(path: str) -> _Place | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@implementer(IWatcher, IReadDescriptor)
class INotify:
    """Watches directories.

    :param reactor: tells when there is something to read, and the time.
    """

    _log = Logger()

    def __init__(self, reactor: IDevLXDReactor) -> None:
        self._reactor = reactor
        self._inotify: _INotify | None = None
        self._watched: dict[int, tuple[str, _Place | None]] = {}

    def start(self, listener: IWatchListener) -> None:
        """See `IWatcher.start`."""
        self._listener = listener
        self._watched = {}
        try:
            self._inotify = _INotify(nonblocking=True)
        except OSError as error:
            self._error = error
            return
        self._reactor.addReader(self)
        self._mounts = open("/proc/self/mountinfo", "rb")  # noqa: SIM115 # for long
        self._mounts_changed = select.poll()
        self._mounts_changed.register(self._mounts, select.POLLPRI)
        self._mounts_changed.poll(0)
        self._cooperator = cooperator(self._reactor, SLICE)
        self._mounts_call = LoopingCall(self._look_at_mounts)
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
        place = _place_of(directory)
        watch: int = self._inotify.add_watch(directory, _MASK)
        self._watched.setdefault(watch, (directory, place))
        return watch

    def unwatch(self, watch: int) -> None:
        """See `IWatcher.unwatch`."""
        known = self._watched.pop(watch, None)
        if self._inotify is not None and known is not None:
            # EINVAL: the kernel has dropped it, and its IN_IGNORED is on the way
            with contextlib.suppress(OSError):
                self._inotify.rm_watch(watch)

    def _look_at_mounts(self) -> Deferred[None] | None:
        """Give up the watches whose paths lead elsewhere, if anything was mounted.

        :return: a Deferred that fires when all have been looked at.
        """
        if not self._mounts_changed.poll(0):
            return None
        done = self._cooperator.cooperate(self._compare_places()).whenDone()
        return done.addCallbacks(lambda _: None, lambda f: f.trap(SchedulerStopped))

    def _compare_places(self) -> Iterator[None]:
        for number, watch in enumerate(list(self._watched), 1):
            directory, place = self._watched.get(watch, ("", None))
            if directory and _place_of(directory) != place:
                self._safely(partial(self._lose, watch))
            if number % _PLACES == 0:
                yield

    def _lose(self, watch: int) -> None:
        self.unwatch(watch)
        self._listener.lost(watch)

    def poll(self) -> bool:
        """See `IWatcher.poll`.

        What comes while this is at work is not waited for.
        """
        left = self._length()
        end = time.perf_counter() + SLICE
        while left > 0 and self._inotify is not None:
            events = os.read(self.fileno(), CHUNK)
            left -= len(events)
            for event in parse_events(events):
                self._safely(partial(self._hand_over, event))
            if left > 0 and time.perf_counter() >= end:
                return False
        return True

    def _length(self) -> int:
        """Return how much there is to be read, in bytes."""
        if self._inotify is None:
            return 0
        length = array("i", [0])
        fcntl.ioctl(self.fileno(), termios.FIONREAD, length)
        return length[0]

    def _safely(self, tell: Callable[[], None]) -> None:
        """A listener that fails loses what it is told, and no more."""
        try:
            tell()
        except Exception:
            self._log.failure("an event of inotify was lost on its listener")

    def _hand_over(self, event: Event) -> None:
        if event.mask & flags.Q_OVERFLOW:
            self._listener.overflowed()
        elif event.wd not in self._watched:
            pass  # of a watch that was given up meanwhile
        elif event.mask & _LOST and not event.name:
            self._lose(event.wd)
        else:
            complete = event.mask & _COMPLETE or self._is_made_whole(event)
            self._listener.touched(event.wd, event.name, complete=bool(complete))

    def _is_made_whole(self, event: Event) -> bool:
        """Tell whether what was made is a directory or a link, and no new file.

        A new file is still to be written to, and then closed.
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
        """Return the file descriptor of inotify; -1 when it is stopped."""
        return -1 if self._inotify is None else int(self._inotify.fileno())

    def doRead(self) -> None:
        """Hear that there is something to read."""
        self.poll()

    def connectionLost(self, reason: Failure) -> None:
        """Hear that the reactor stops."""

    def logPrefix(self) -> str:
        """Return what log lines are said to be of."""
        return "devlxd"
