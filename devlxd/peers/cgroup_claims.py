# -*- test-case-name: tests.peers.test_identifier -*-
"""Process or cgroup -> claim: the container that a cgroup belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from devlxd.interfaces import IProcessTable, IRuntime, NotInContainer
from devlxd.model import Claim


def name_of(runtime: IRuntime) -> str:
    """Return the name of a runtime; empty for a plugin without one."""
    return getattr(runtime, "name", "")


@frozen
class CgroupClaims:
    """The claims of runtimes to cgroups: which container each cgroup belongs to.

    :ivar processes: the processes of the host.
    :ivar runtimes: the runtimes; of those that make the same claim, the first is used.
    """

    processes: IProcessTable
    runtimes: Sequence[IRuntime]

    def of_process(self, pid: int, subject: str = "it") -> tuple[Claim, IRuntime]:
        """Return the only claim to the cgroups of a process.

        A process has one cgroup for each hierarchy. There may be cgroups without
        a claim, but all claims must be equal.

        :param subject: what error texts call the process.
        :return: the claim, and the first runtime that makes it.
        :raises NotInContainer: if there is no claim, or more than one.
        :raises OSError: if ``pid`` cannot be examined.
        """
        claims = self._claims(self.processes.cgroups(pid))
        if not claims:
            raise NotInContainer(
                f"{subject} is in the cgroup of no container", "no container"
            )
        if len(claims) > 1:
            names = " and ".join(sorted(map(str, claims)))
            raise NotInContainer(
                f"{subject} is in the cgroups of {names}", "several containers"
            )
        return claims.popitem()

    def of_cgroup(self, cgroup: str) -> Claim | None:
        """Return the claim of the first runtime that claims a cgroup.

        :return: ``None`` if no runtime claims it.
        """
        return next(iter(self._claims([cgroup])), None)

    def _claims(self, cgroups: Sequence[str]) -> dict[Claim, IRuntime]:
        claims: dict[Claim, IRuntime] = {}
        # A process usually has the same path in most hierarchies.
        for cgroup in dict.fromkeys(cgroups):
            for runtime in self.runtimes:
                claim = runtime.claim(cgroup)
                if claim is not None:
                    claims.setdefault(claim, runtime)
        return claims
