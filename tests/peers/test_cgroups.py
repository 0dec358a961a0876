"""Tests of `devlxd.peers.cgroups`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.peers.cgroups import cgroups_in
from tests.peers import hosts


class CgroupsInTests(SynchronousTestCase):
    """The text of ``/proc/PID/cgroup``."""

    def test_hosts(self) -> None:
        """Each kind of host tells one path for each hierarchy."""
        paths = {
            name: list(cgroups_in(text.format(cgroup="/lxc.payload.c1")))
            for name, text in hosts.ALL.items()
        }
        self.assertEqual(paths["v2"], ["/lxc.payload.c1"])
        self.assertEqual(paths["hybrid"], ["/lxc.payload.c1"] * 10)
        self.assertEqual(set(paths["v1"]), {"/lxc.payload.c1", "/"})

    def test_colon(self) -> None:
        """A path may have colons in it; a guest may choose the end of it."""
        self.assertEqual(
            list(cgroups_in("0::/lxc.payload.c1/a:0::/b\n")),
            ["/lxc.payload.c1/a:0::/b"],
        )

    def test_something_else(self) -> None:
        """What is no such text is an error."""
        self.assertRaises(ValueError, list, cgroups_in("nonsense\n"))
