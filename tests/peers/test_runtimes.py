"""Tests of `devlxd.peers.runtimes`, and the contract of `IRuntime`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.interfaces import IRuntime
from devlxd.peers.runtimes import LXCRuntime


class LXCRuntimeTests(SynchronousTestCase):
    """The cgroups of LXC, LXD and Incus."""

    def assert_named(self, cgroup: str, name: str | None) -> None:
        """Check which container ``cgroup`` is said to be of."""
        self.assertEqual(LXCRuntime().container_name(cgroup), name)

    def test_interface(self) -> None:
        """It is a runtime."""
        self.assertTrue(verifyObject(IRuntime, LXCRuntime()))

    def test_payload(self) -> None:
        """The component at the root names the container."""
        self.assert_named("/lxc.payload.c1", "c1")
        self.assert_named("/lxc.payload.c1/init.scope", "c1")
        self.assert_named("/lxc.payload.web_c1/.lxc", "web_c1")

    def test_what_a_guest_made(self) -> None:
        """What stands below the root proves nothing."""
        self.assert_named("/lxc.payload.c1/lxc.payload.victim", "c1")
        self.assert_named("/user.slice/lxc.payload.victim", None)
        self.assert_named("/../lxc.payload.victim", None)

    def test_others(self) -> None:
        """What is no payload is nobody's."""
        for cgroup in ("/", "/lxc.monitor.c1", "/x.lxc.payload.c1", "/lxc", ""):
            self.assert_named(cgroup, None)
