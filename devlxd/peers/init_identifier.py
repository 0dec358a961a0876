# -*- test-case-name: tests.peers.test_identifier -*-
"""Init -> container: the claim to the init's cgroup, confirmed by its monitor."""

from __future__ import annotations

from attrs import evolve, frozen

from devlxd.interfaces import (
    IMonitoredRuntime,
    IProcessTable,
    NotInContainer,
)
from devlxd.model import Claim, Monitor
from devlxd.peers.cgroup_claims import CgroupClaims, name_of
from devlxd.peers.checks import UNRECORDED, Checks
from devlxd.peers.refusals import origin_of


@frozen
class IdentifiedInit:
    """The container that an init belongs to.

    :ivar cgroup_claim: the claim to the cgroup of the init.
    :ivar confirmed_claim: the claim that the runtime has confirmed. Its name differs
        if the runtime could not use the container's name for the cgroup.
    :ivar monitor_pidfd: a pidfd of the monitor, which the caller of
        `InitIdentifier.identify` closes; ``None`` if the runtime has no monitors.
    """

    cgroup_claim: Claim
    confirmed_claim: Claim
    monitor_pidfd: int | None = None


@frozen
class InitIdentifier:
    """The identification of containers by their inits.

    :ivar processes: the processes of the host.
    :ivar claims: which container a cgroup belongs to.
    """

    processes: IProcessTable
    claims: CgroupClaims

    def identify(self, init: int, checks: Checks = UNRECORDED) -> IdentifiedInit:
        """Return the container that the process ``init`` belongs to.

        :param checks: receives this check, which the caller has begun, and that of
            the monitor.
        :raises NotInContainer: if its cgroups belong to no container or to several,
            or its monitor does not confirm the claim.
        :raises OSError: if ``init`` or its monitor cannot be examined.
        """
        claim, runtime = self.claims.of_process(init, f"its init (pid {init})")
        checks.passed(
            "pid {}, the init of that namespace, is in the cgroup of {}", init, claim
        )
        if IMonitoredRuntime.providedBy(runtime):
            checks.begin("monitor")
            return self._confirm(claim, IMonitoredRuntime(runtime), init, checks)
        name = name_of(runtime)
        checks.skipped("monitor", "containers of {} have none", name or "a plugin")
        return IdentifiedInit(claim, evolve(claim, runtime=name))

    def _confirm(
        self, claim: Claim, runtime: IMonitoredRuntime, init: int, checks: Checks
    ) -> IdentifiedInit:
        """Ask the runtime to check a claim by the monitor of ``init``.

        The monitor is the parent of ``init``. No guest can create a process in
        the host's pid namespace that belongs to the host's root.
        """
        parent = self.processes.status(init).parent
        if not parent:
            raise NotInContainer(
                f"the parent of its init (pid {init}) is not on this host", "monitor"
            )
        pidfd = self.processes.open_pidfd(parent)
        try:
            monitor = self._examine_monitor(parent)
            # The facts are those of the parent, and not of a later process with
            # its pid, if it is still alive and still the parent.
            if self.processes.status(init).parent != parent:
                raise NotInContainer(
                    f"its init (pid {init}) has lost its parent", "monitor"
                )
            if not self.processes.is_alive(pidfd):
                raise NotInContainer(f"its monitor (pid {parent}) has ended", "monitor")
            confirmed = runtime.confirm(claim, monitor)
        except BaseException:
            self.processes.close_pidfd(pidfd)
            raise
        checks.passed(
            "pid {}, the parent of the init, is the monitor of {} ({})",
            parent,
            confirmed,
            origin_of(confirmed),
        )
        return IdentifiedInit(claim, confirmed, pidfd)

    def _examine_monitor(self, pid: int) -> Monitor:
        if self.processes.status(pid).uid != 0:
            raise NotInContainer(
                f"the parent of its init (pid {pid}) does not belong to the host's "
                "root",
                "monitor",
            )
        if self.processes.pid_namespaces(pid):
            raise NotInContainer(
                f"the parent of its init (pid {pid}) is in a container", "monitor"
            )
        return Monitor(
            self.processes.program(pid),
            self.processes.command_line(pid),
            tuple(self.processes.cgroups(pid)),
        )
