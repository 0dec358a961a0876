# -*- test-case-name: tests.peers.test_identifier -*-
"""Process -> claim: whose its cgroup is, and what the monitor says to that."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from devlxd.interfaces import (
    IMonitoredRuntime,
    IProcessTable,
    IRuntime,
    NotInContainer,
)
from devlxd.model import Claim, Monitor


@frozen
class Placed:
    """What was found out about the init of a container.

    :ivar claim: whose its cgroup is.
    :ivar owner: whose it is; another one where the runtime had to give it
        another cgroup than its name asks for.
    :ivar monitor: a pidfd of its monitor, where the runtime has one, for who
        is given this to close.
    """

    claim: Claim
    owner: Claim
    monitor: int | None = None


@frozen
class Claims:
    """Asks the runtimes whose a process is.

    :ivar processes: what the kernel says of processes.
    :ivar runtimes: those that are asked; the first one with a claim is asked
        to confirm it.
    """

    processes: IProcessTable
    runtimes: Sequence[IRuntime]

    def of(self, pid: int) -> Claim:
        """Return whose the cgroup of ``pid`` is.

        :raises NotInContainer: when it is nobody's, or more than one's.
        :raises OSError: when ``pid`` cannot be looked at.
        """
        return self._claimed(pid)[0]

    def of_cgroup(self, cgroup: str) -> Claim | None:
        """Return whose a cgroup is, if it is anybody's."""
        return next(iter(self._by_claim([cgroup])), None)

    def of_init(self, init: int) -> Placed:
        """Find out whose a container's init is.

        :raises NotInContainer: as `of` does, and when the monitor contradicts.
        :raises OSError: when ``init`` or its monitor cannot be looked at.
        """
        claim, runtime = self._claimed(init, f"its init, pid {init}: ")
        if IMonitoredRuntime.providedBy(runtime):
            return self._confirmed(claim, IMonitoredRuntime(runtime), init)
        return Placed(claim, evolve(claim, runtime=getattr(runtime, "name", "")))

    def _claimed(self, pid: int, who: str = "") -> tuple[Claim, IRuntime]:
        claims = self._by_claim(self.processes.cgroups(pid))
        if not claims:
            raise NotInContainer(
                f"{who}its cgroup is of no container", "no container's"
            )
        if len(claims) > 1:
            found = " and ".join(sorted(map(str, claims)))
            raise NotInContainer(
                f"{who}its cgroups are of {found}", "several containers'"
            )
        return claims.popitem()

    def _by_claim(self, cgroups: Sequence[str]) -> dict[Claim, IRuntime]:
        claims: dict[Claim, IRuntime] = {}
        # In most hierarchies a process is in a cgroup of the same name.
        for cgroup in dict.fromkeys(cgroups):
            for runtime in self.runtimes:
                claim = runtime.claim(cgroup)
                if claim is not None:
                    claims.setdefault(claim, runtime)
        return claims

    def _confirmed(self, claim: Claim, runtime: IMonitoredRuntime, init: int) -> Placed:
        """Ask the parent of ``init``, if it is one that no guest can make.

        A process of the host's pid namespace that belongs to the host's root.
        """
        parent = self.processes.status(init).parent
        if not parent:
            raise NotInContainer(
                f"the parent of its init, pid {init}, is not of this host", "monitor"
            )
        pidfd = self.processes.hold(parent)
        try:
            monitor = self._monitor(parent)
            # What was read is the parent's, and not that of a process which
            # was given its pid, if it lives and the init has not lost it.
            if self.processes.status(init).parent != parent:
                raise NotInContainer(
                    f"its init, pid {init}, lost its parent", "monitor"
                )
            if not self.processes.is_alive(pidfd):
                raise NotInContainer(f"its monitor, pid {parent}, has ended", "monitor")
            owner = runtime.confirm(claim, monitor)
        except BaseException:
            self.processes.let_go(pidfd)
            raise
        return Placed(claim, owner, pidfd)

    def _monitor(self, pid: int) -> Monitor:
        if self.processes.status(pid).uid != 0:
            raise NotInContainer(
                f"the parent of its init, pid {pid}, is not root's", "monitor"
            )
        if self.processes.pid_namespaces(pid):
            raise NotInContainer(
                f"the parent of its init, pid {pid}, is in a container", "monitor"
            )
        return Monitor(
            self.processes.program(pid),
            self.processes.command(pid),
            tuple(self.processes.cgroups(pid)),
        )
