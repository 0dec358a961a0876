# -*- test-case-name: tests.peers -*-
"""Peers, callers, runtimes and processes in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count

from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import ITransport
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import (
    IExplainer,
    IIDMap,
    IMonitoredRuntime,
    IPeerSource,
    IProcessTable,
    IRunIdentifier,
    IRunObserver,
    IRuntime,
    NotInContainer,
)
from devlxd.model import (
    Caller,
    Claim,
    Explanation,
    Init,
    Monitor,
    Peer,
    ProcessStatus,
    Result,
    Step,
)
from devlxd.peers.cgroups import parse_cgroups
from devlxd.peers.id_maps import parse_uid_map

#: A process of an unprivileged container's root, as the host sees it.
GUEST = Peer(pid=4321, uid=100000, gid=100000)


@implementer(IPeerSource)
@frozen
class MemoryPeerSource:
    """A source of the same peer for every connection.

    :ivar peer: that peer; ``None`` to raise `NotInContainer`.
    """

    peer: Peer | None = GUEST

    @contextmanager
    def open_peer(self, transport: ITransport) -> Iterator[Peer]:
        """See `IPeerSource.open_peer`."""
        if self.peer is None:
            raise NotInContainer("the connection has no peer")
        yield self.peer


@implementer(IRunIdentifier, IExplainer)
@frozen
class MemoryIdentifier:
    """An identifier of callers that finds each caller by its pid.

    :ivar callers: pid to caller. All other peers are in no container.
    :ivar observers: the observers that are notified when a run ends.
    """

    _log = Logger()

    callers: Mapping[int, Caller] = field(factory=dict)
    observers: list[IRunObserver] = field(factory=list, init=False)

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        try:
            return self.callers[peer.pid]
        except KeyError:
            raise NotInContainer(f"pid {peer.pid} is in no container") from None

    def explain(self, pid: int) -> Explanation:
        """See `IExplainer.explain`; there is one check."""
        caller = self.callers.get(pid)
        if caller is None:
            reason = f"pid {pid} is in no container"
            return Explanation(
                pid, (Step("caller", Result.FAILED, reason),), refused=reason
            )
        step = Step("caller", Result.PASSED, f"pid {pid} is in {caller.container}")
        return Explanation(pid, (step,), caller.container, uid=caller.uid)

    def caller_of(self, init: Init) -> Caller:
        """See `IRunIdentifier.caller_of`."""
        for caller in self.callers.values():
            if caller.init == init:
                return evolve(caller, uid=0)
        raise NotInContainer(f"pid {init.pid} is the init of no run")

    def watch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.watch`."""
        self.observers.append(observer)

    def unwatch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.unwatch`."""
        self.observers.remove(observer)

    def end(self, run: int) -> None:
        """Notify the observers that ``run`` has ended."""
        for observer in list(self.observers):
            try:
                observer.ended(run)
            except Exception:
                self._log.failure(
                    "an observer failed when run {run} of {container} ended; the other "
                    "observers are notified",
                    run=run,
                    container=", ".join(self._containers_of(run)),
                )

    def _containers_of(self, run: int) -> set[str]:
        return {c.container for c in self.callers.values() if c.run == run}


@implementer(IRunObserver)
@define
class RecordingRunObserver:
    """An observer that records which runs have ended.

    :ivar runs: the numbers of these runs, in the order in which they ended.
    """

    runs: list[int] = field(factory=list)

    def ended(self, run: int) -> None:
        """See `IRunObserver.ended`."""
        self.runs.append(run)


@implementer(IRuntime)
@frozen
class MemoryRuntime:
    """A runtime with a table of cgroups.

    :ivar cgroups: the path of each container's cgroup, to the claim of the container.
        The cgroups below that path belong to the container, too.
    """

    name = "memory"
    cgroups: Mapping[str, Claim] = field(factory=dict)

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`."""
        for path, claim in self.cgroups.items():
            if f"{cgroup}/".startswith(f"{path}/"):
                return claim
        return None


@implementer(IMonitoredRuntime)
@frozen
class MemoryMonitoredRuntime(MemoryRuntime):
    """A runtime with a table of cgroups and a table of monitors.

    :ivar monitors: the claim to a cgroup and the command line of a monitor that
        confirms it, to the confirmed claim.
    """

    monitors: Mapping[tuple[Claim, str], Claim] = field(factory=dict)

    def confirm(self, claim: Claim, monitor: Monitor) -> Claim:
        """See `IMonitoredRuntime.confirm`."""
        try:
            return self.monitors[claim, monitor.command_line]
        except KeyError:
            raise NotInContainer(
                f"the monitor is not one of {claim}", "monitor"
            ) from None


@define
class MemoryProcess:
    """A process of a `MemoryProcessTable`.

    :ivar cgroup: the text of ``/proc/PID/cgroup``.
    :ivar namespaces: its pid namespaces, from its own to the outermost one below
        the host's.
    :ivar uid_map: the text of ``/proc/PID/uid_map``.
    :ivar parent: the pid of its parent; 0 where the host cannot see the parent.
    :ivar uid: its real and effective user id on the host.
    :ivar command_line: the text of ``/proc/PID/cmdline``.
    :ivar program: the path of the program that it runs.
    :ivar started: when it was started, in clock ticks since the boot.
    """

    cgroup: str
    namespaces: Sequence[int] = ()
    uid_map: str = "0 0 4294967295"
    parent: int = 0
    uid: int = 0
    command_line: str = ""
    program: str = ""
    started: int = 0


@implementer(IProcessTable)
class MemoryProcessTable:
    """The processes of an imaginary host.

    :ivar processes: the running processes, by pid. One that is removed, or
        replaced, has ended.
    :ivar inits: the pid of the init of each pid namespace, by the namespace's number.
    :ivar pidfds: the processes of the open pidfds, by pidfd.
    :ivar boot_id: the id of the boot.
    """

    def __init__(self) -> None:
        self.processes: dict[int, MemoryProcess] = {}
        self.inits: dict[int, int] = {}
        self.pidfds: dict[int, MemoryProcess] = {}
        self.boot_id = "00000000-0000-4000-8000-000000000000"
        self._numbers = count(1000)

    def cgroups(self, pid: int) -> Sequence[str]:
        """See `IProcessTable.cgroups`."""
        return parse_cgroups(self._process(pid).cgroup)

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
        return ProcessStatus(process.parent, process.uid, name, process.uid)

    def started(self, pid: int) -> int:
        """See `IProcessTable.started`."""
        return self._process(pid).started

    def boot(self) -> str:
        """See `IProcessTable.boot`."""
        return self.boot_id

    def command_line(self, pid: int) -> str:
        """See `IProcessTable.command_line`."""
        return self._process(pid).command_line

    def program(self, pid: int) -> str:
        """See `IProcessTable.program`."""
        return self._process(pid).program

    def open_pidfd(self, pid: int) -> int:
        """See `IProcessTable.open_pidfd`."""
        process = self._process(pid)
        pidfd = next(self._numbers)
        self.pidfds[pidfd] = process
        return pidfd

    def is_alive(self, pidfd: int) -> bool:
        """See `IProcessTable.is_alive`."""
        return any(self.pidfds[pidfd] is running for running in self.processes.values())

    def close_pidfd(self, pidfd: int) -> None:
        """See `IProcessTable.close_pidfd`."""
        del self.pidfds[pidfd]

    def _process(self, pid: int) -> MemoryProcess:
        if pid not in self.processes:
            raise ProcessLookupError(f"no process {pid}")
        return self.processes[pid]
