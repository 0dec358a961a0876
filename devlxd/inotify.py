# -*- test-case-name: tests.test_inotify -*-
"""The kernel's inotify as an IReadDescriptor.

Twisted's own drops the kernel's word that events were lost, and closes every
watch when one directory goes (twisted #6722, #9777).
"""

from __future__ import annotations

from inotify_simple import Event, flags
from inotify_simple import INotify as _INotify
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.interfaces import IWatcher, IWatchListener

#: After these an entry is what it is, until further events.
_COMPLETE = (
    flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE | flags.ATTRIB
)

#: What is asked of the kernel for each directory. IN_CREATE is for links and
#: directories; a file that was just created is still to be written.
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


@implementer(IWatcher, IReadDescriptor)
class INotify:
    """Watches directories.

    :param reactor: tells when there is something to read.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFDSet) -> None:
        self._reactor = reactor

    def start(self, listener: IWatchListener) -> None:
        """See `IWatcher.start`."""
        self._listener = listener
        self._watched: set[int] = set()
        self._inotify = _INotify(nonblocking=True)
        self._reactor.addReader(self)

    def stop(self) -> None:
        """See `IWatcher.stop`."""
        self._reactor.removeReader(self)
        self._inotify.close()

    def watch(self, directory: str) -> int:
        """See `IWatcher.watch`."""
        watch: int = self._inotify.add_watch(directory, _MASK)
        self._watched.add(watch)
        return watch

    def unwatch(self, watch: int) -> None:
        """See `IWatcher.unwatch`."""
        if watch in self._watched:
            self._watched.remove(watch)
            # EINVAL: the kernel has dropped it, and its IN_IGNORED is on the way
            try:
                self._inotify.rm_watch(watch)
            except OSError as error:
                self._log.debug("watch {watch}: {error}", watch=watch, error=error)

    def poll(self) -> None:
        """See `IWatcher.poll`."""
        for event in self._inotify.read(timeout=0):
            try:
                self._hand_over(event)
            except Exception:
                self._log.failure("an event of inotify was lost on its listener")

    def _hand_over(self, event: Event) -> None:
        if event.mask & flags.Q_OVERFLOW:
            self._listener.overflowed()
        elif event.wd not in self._watched:
            pass  # of a watch that was given up meanwhile
        elif event.mask & _LOST and not event.name:
            self.unwatch(event.wd)
            self._listener.lost(event.wd)
        elif event.mask & flags.MODIFY:
            self._listener.touched(event.wd, event.name, complete=False)
        else:
            self._listener.touched(event.wd, event.name, complete=True)

    # IReadDescriptor

    def fileno(self) -> int:
        """Return the file descriptor of inotify; -1 when it is stopped."""
        return -1 if self._inotify.closed else int(self._inotify.fileno())

    def doRead(self) -> None:
        """Hear that there is something to read."""
        self.poll()

    def connectionLost(self, reason: Failure) -> None:
        """Hear that the reactor stops."""

    def logPrefix(self) -> str:
        """Return what log lines are said to be of."""
        return "devlxd"
