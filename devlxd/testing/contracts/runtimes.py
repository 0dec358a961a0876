# -*- test-case-name: tests.peers.test_runtimes -*-
"""The contracts of `IRuntime` and of `IMonitoredRuntime`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from zope.interface.verify import verifyObject

from devlxd.interfaces import IMonitoredRuntime, IRuntime, NotInContainer
from devlxd.model import Claim, Monitor
from devlxd.testing.contracts.base import ContractBase

#: Paths that a container's root may append to the path of the container's cgroup.
BELOW = (
    "/",
    "/init.scope",
    "/..",
    "/../lxc.payload.victim",
    "/lxc.payload.victim",
    "/machine.slice/machine-victim.scope",
    "/a\n0::/lxc.payload.victim",
    "/\r\u2028\udcff",
)

#: Prefixes of a path that a user of the host may create, or that cannot exist.
ABOVE = ("/user.slice", "/user.slice/user-1000.slice/user@1000.service", "/..", "/")

#: Cgroups that belong to no container of any runtime.
NO_CONTAINERS = ("", "/", "/init.scope", "/system.slice/ssh.service", "/user.slice")


class RuntimeContract(ContractBase):
    """Tests of a runtime. Override `make_runtime` and `own_cgroups`.

    :ivar runtime: a new runtime for each test.
    """

    runtime: IRuntime

    def make_runtime(self) -> IRuntime:
        """Hook: return a new runtime."""
        raise NotImplementedError

    def own_cgroups(self) -> Mapping[str, Claim]:
        """Hook: return examples of the cgroups of `runtime`.

        :return: the paths of cgroups that the runtime creates for containers, each
            to the claim of its container.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the runtime."""
        super().setUp()
        self.runtime = self.make_runtime()

    def test_interface(self) -> None:
        """The runtime provides `IRuntime`, and has a name."""
        self.assertTrue(verifyObject(IRuntime, self.runtime))
        self.assertNotEqual(self.runtime.name, "")

    def test_own(self) -> None:
        """The cgroup of a container belongs to that container."""
        for cgroup, claim in self.own_cgroups().items():
            self.assertEqual(self.runtime.claim(cgroup), claim)

    def test_claims(self) -> None:
        """A claim has either a name or an id."""
        for claim in self.own_cgroups().values():
            self.assertNotEqual(bool(claim.name), bool(claim.id))

    def test_below(self) -> None:
        """All cgroups below that of a container belong to the same container.

        Guests choose the names of these cgroups.
        """
        own = self.own_cgroups()
        for cgroup, claim in own.items():
            for below in (*BELOW, *own):
                self.assertEqual(self.runtime.claim(cgroup + below), claim, below)

    def test_elsewhere(self) -> None:
        """A cgroup that only looks like that of a container belongs to none.

        Users of the host can create such a cgroup.
        """
        for cgroup in self.own_cgroups():
            for above in ABOVE:
                self.assertIsNone(self.runtime.claim(above + cgroup), above)
            self.assertIsNone(self.runtime.claim(cgroup.removeprefix("/")))

    def test_no_containers(self) -> None:
        """A cgroup of the host belongs to no container."""
        for cgroup in NO_CONTAINERS:
            self.assertIsNone(self.runtime.claim(cgroup), cgroup)


class MonitoredRuntimeContract(RuntimeContract):
    """Tests of a runtime with monitors.

    Override `confirmations` and `contradictions`, and the hooks of
    `RuntimeContract`.
    """

    def confirmations(self) -> Collection[tuple[Claim, Monitor, Claim]]:
        """Hook: return examples of monitors that confirm a claim.

        :return: for each example, the claim to the cgroup, the monitor, and the
            confirmed claim.
        """
        raise NotImplementedError

    def contradictions(self) -> Collection[tuple[Claim, Monitor]]:
        """Hook: return examples of claims, and of parents that contradict them."""
        raise NotImplementedError

    def _monitored(self) -> IMonitoredRuntime:
        self.assertTrue(verifyObject(IMonitoredRuntime, self.runtime))
        return IMonitoredRuntime(self.runtime)

    def test_confirmed(self) -> None:
        """A monitor of the container confirms the claim."""
        for claim, monitor, confirmed in self.confirmations():
            self.assertEqual(self._monitored().confirm(claim, monitor), confirmed)

    def test_contradicted(self) -> None:
        """A claim that the parent of the init does not confirm is refused."""
        for claim, monitor in self.contradictions():
            error = self.assertRaises(
                NotInContainer, self._monitored().confirm, claim, monitor
            )
            self.assertIsNotNone(error.kind)

    def test_another(self) -> None:
        """A monitor of one container confirms no claim to another one's cgroup."""
        for _claim, monitor, _confirmed in self.confirmations():
            self.assertRaises(
                NotInContainer, self._monitored().confirm, Claim("victim"), monitor
            )
