# -*- test-case-name: tests -*-
"""Verified fakes, for the tests of devlxd and of whoever builds on it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import cast

from attrs import define, field, frozen
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python import log
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IDevLXDReactor,
    IIDMap,
    IImageStore,
    ILifeObserver,
    IPeerSource,
    IProcessTable,
    IRuntime,
    IWatcher,
    IWatchListener,
    NotInContainer,
)
from devlxd.model import Caller, Claim, Peer, ProcessStatus
from devlxd.peers.cgroups import cgroups_in
from devlxd.peers.idmap import id_map_of_process
from devlxd.web.dialects import LXD, Dialect
from devlxd.web.images import Downloads
from devlxd.web.site import DevLXDSite

#: Root of an unprivileged container, as the host sees it.
GUEST = Peer(pid=4321, uid=100000, gid=100000)


@implementer(IPeerSource)
@frozen
class MemoryPeerSource:
    """Says the same of every connection.

    :ivar peer: what it says; ``None`` to fail.
    """

    peer: Peer | None = GUEST

    @contextmanager
    def hold(self, transport: ITransport) -> Iterator[Peer]:
        """See `IPeerSource.hold`."""
        if self.peer is None:
            raise NotInContainer("nobody is there")
        yield self.peer


@implementer(ICallerIdentifier)
@frozen
class MemoryIdentifier:
    """Knows its callers by their pid.

    :ivar callers: pid to caller; who is not in it is in no container.
    """

    callers: Mapping[int, Caller] = field(factory=dict)
    observers: list[ILifeObserver] = field(factory=list, init=False)

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        try:
            return self.callers[peer.pid]
        except KeyError:
            raise NotInContainer(f"pid {peer.pid} is nobody") from None

    def watch(self, observer: ILifeObserver) -> None:
        """See `ICallerIdentifier.watch`."""
        self.observers.append(observer)

    def unwatch(self, observer: ILifeObserver) -> None:
        """See `ICallerIdentifier.unwatch`."""
        self.observers.remove(observer)

    def end(self, life: int) -> None:
        """Let a life end."""
        for observer in list(self.observers):
            observer.ended(life)


@implementer(IRuntime)
@frozen
class MemoryRuntime:
    """Knows cgroups by heart.

    :ivar cgroups: the path of a cgroup, to whose it is.
    """

    name = "memory"
    cgroups: Mapping[str, Claim] = field(factory=dict)

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`."""
        return self.cgroups.get(cgroup)


@define
class MemoryProcess:
    """A process.

    :ivar cgroup: what ``/proc/PID/cgroup`` says.
    :ivar namespaces: the pid namespaces that it lives in, its own first,
        without the host's.
    :ivar uid_map: what ``/proc/PID/uid_map`` says.
    :ivar parent: the pid of its parent; 0 for none that can be seen.
    :ivar uid: its real user id, as the host sees it.
    :ivar command: what ``/proc/PID/cmdline`` says.
    :ivar program: the path of what it runs.
    """

    cgroup: str
    namespaces: Sequence[int] = ()
    uid_map: str = "0 0 4294967295"
    parent: int = 0
    uid: int = 0
    command: str = ""
    program: str = ""


@implementer(IProcessTable)
class MemoryProcessTable:
    """The processes of a host that is made up.

    :ivar processes: by their pid; what is taken out has ended.
    :ivar inits: the pid of the init of each pid namespace.
    :ivar held: the processes that somebody has a pidfd of, by the pidfd.
    """

    def __init__(self) -> None:
        self.processes: dict[int, MemoryProcess] = {}
        self.inits: dict[int, int] = {}
        self.held: dict[int, MemoryProcess] = {}
        self._pidfds = count(1000)

    def cgroups(self, pid: int) -> Sequence[str]:
        """See `IProcessTable.cgroups`."""
        return list(cgroups_in(self._process(pid).cgroup))

    def pid_namespaces(self, pid: int) -> Sequence[int]:
        """See `IProcessTable.pid_namespaces`."""
        return list(self._process(pid).namespaces)

    def init(self, pid: int) -> int:
        """See `IProcessTable.init`."""
        namespaces = self.pid_namespaces(pid)
        if not namespaces or namespaces[-1] not in self.inits:
            raise ProcessLookupError(f"pid {pid} has no init")
        return self.inits[namespaces[-1]]

    def id_map(self, pid: int) -> IIDMap:
        """See `IProcessTable.id_map`."""
        return id_map_of_process(self._process(pid).uid_map)

    def status(self, pid: int) -> ProcessStatus:
        """See `IProcessTable.status`."""
        process = self._process(pid)
        name = os.path.basename(process.program)
        return ProcessStatus(process.parent, process.uid, name)

    def command(self, pid: int) -> str:
        """See `IProcessTable.command`."""
        return self._process(pid).command

    def program(self, pid: int) -> str:
        """See `IProcessTable.program`."""
        return self._process(pid).program

    def hold(self, pid: int) -> int:
        """See `IProcessTable.hold`."""
        pidfd = next(self._pidfds)
        self.held[pidfd] = self._process(pid)
        return pidfd

    def is_alive(self, pidfd: int) -> bool:
        """See `IProcessTable.is_alive`."""
        return any(self.held[pidfd] is process for process in self.processes.values())

    def let_go(self, pidfd: int) -> None:
        """See `IProcessTable.let_go`."""
        del self.held[pidfd]

    def _process(self, pid: int) -> MemoryProcess:
        if pid not in self.processes:
            raise ProcessLookupError(f"no process {pid}")
        return self.processes[pid]


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


class MemoryThreadPool(ThreadPool):
    """Does what it is given in no thread at all.

    :ivar held: whether that waits until `release` is called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held = False
        self._waiting: list[Callable[[], None]] = []

    # What there is for a result depends on the function, or is a Failure.
    def callInThreadWithCallback(  # type: ignore[override]
        self,
        onResult: Callable[[bool, object], None] | None,
        func: Callable[..., object],
        *args: object,
        **kw: object,
    ) -> None:
        """See `ThreadPool.callInThreadWithCallback`."""

        def work() -> None:
            try:
                result, succeeded = func(*args, **kw), True
            except Exception:
                result, succeeded = Failure(), False
                if onResult is None:
                    log.err(result)
            if onResult is not None:
                onResult(succeeded, result)

        self._waiting.append(work)
        if not self.held:
            self.release()

    def release(self) -> None:
        """Do what waits to be done."""
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()


@implementer(IDevLXDReactor)
class MemoryDevLXDReactor(MemoryReactorClock):
    """A reactor in memory, with all that devlxd needs of one.

    :ivar threads: its threads, of which there are none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.threads = MemoryThreadPool()

    def getThreadPool(self) -> ThreadPool:
        """See `IReactorThreads.getThreadPool`."""
        return self.threads

    def callInThread(
        self, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> None:
        """See `IReactorInThreads.callInThread`."""
        self.threads.callInThread(callable, *args, **kwargs)

    def callFromThread(
        self, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> None:
        """See `IReactorFromThreads.callFromThread`."""
        callable(*args, **kwargs)

    def suggestThreadPoolSize(self, size: int) -> None:
        """See `IReactorThreads.suggestThreadPoolSize`."""


class GuestConnection:
    """The guest's end of a connection, in memory; the site's reactor is a Clock.

    :ivar transport: what the site writes to.
    """

    def __init__(self, site: DevLXDSite) -> None:
        self.transport = StringTransport()
        self._clock = site.reactor
        self._protocol = site.buildProtocol(UNIXAddress(""))
        self._protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """Send ``data``, and return what came back since the last time."""
        self._protocol.dataReceived(data)
        assert isinstance(self._clock, Clock)
        # Of questions that were sent ahead, each is answered in its turn.
        self._clock.advance(0)
        answer: bytes = self.transport.value()
        self.transport.clear()
        return answer

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        self._protocol.readConnectionLost()

    def hang_up(self) -> None:
        """Close the connection from the guest's end."""
        self._protocol.connectionLost(Failure(ConnectionDone()))

    def get(self, path: str, version: str = "1.1") -> bytes:
        """Ask for ``path``, and return the response as it is on the wire."""
        return self.send(f"GET {path} HTTP/{version}\r\nHost: lxd\r\n\r\n".encode())


def site_for(
    store: IContainerStore,
    name: str,
    dialect: Dialect = LXD,
    clock: Clock | None = None,
    images: IImageStore | None = None,
) -> DevLXDSite:
    """Build a site on which everybody is the root of the container ``name``.

    :param clock: for what waits, and tells the time; with images, a
        `MemoryDevLXDReactor`.
    """
    clock = clock or MemoryDevLXDReactor()
    return DevLXDSite(
        dialect,
        store,
        MemoryIdentifier({GUEST.pid: Caller(name, uid=0)}),
        MemoryPeerSource(),
        clock,
        downloads=Downloads(images, cast(IDevLXDReactor, clock)) if images else None,
        wall=clock.seconds,
    )
