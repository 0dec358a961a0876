# -*- test-case-name: tests -*-
"""Peers, callers, runtimes and processes in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count

from attrs import define, field, frozen
from twisted.internet.interfaces import ITransport
from zope.interface import implementer

from devlxd.interfaces import (
    ICallerIdentifier,
    IIDMap,
    IPeerSource,
    IProcessTable,
    IRunObserver,
    IRuntime,
    NotInContainer,
)
from devlxd.model import Caller, Claim, Peer, ProcessStatus
from devlxd.peers.cgroups import parse_cgroups
from devlxd.peers.id_maps import parse_uid_map

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
    observers: list[IRunObserver] = field(factory=list, init=False)

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        try:
            return self.callers[peer.pid]
        except KeyError:
            raise NotInContainer(f"pid {peer.pid} is nobody") from None

    def watch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.watch`."""
        self.observers.append(observer)

    def unwatch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.unwatch`."""
        self.observers.remove(observer)

    def end(self, run: int) -> None:
        """Let a run end."""
        for observer in list(self.observers):
            observer.ended(run)


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
        return list(parse_cgroups(self._process(pid).cgroup))

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
        return parse_uid_map(self._process(pid).uid_map)

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
