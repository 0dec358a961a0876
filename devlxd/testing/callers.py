# -*- test-case-name: tests.peers -*-
"""Peers, callers and runtimes in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import ITransport
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import (
    IExplainer,
    IMonitoredRuntime,
    IPeerSource,
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
    Result,
    Step,
)

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
