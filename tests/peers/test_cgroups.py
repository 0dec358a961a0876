"""Tests of `devlxd.peers.cgroups`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.peers.cgroups import parse_cgroups
from tests.peers import hosts


class ParseCgroupsTests(SynchronousTestCase):
    """`parse_cgroups`."""

    def test_hosts(self) -> None:
        """The text of each kind of host is parsed into one path for each hierarchy."""
        paths = {
            name: list(parse_cgroups(text.format(cgroup="/lxc.payload.c1")))
            for name, text in hosts.ALL.items()
        }
        self.assertEqual(paths["v2"], ["/lxc.payload.c1"])
        self.assertEqual(paths["hybrid"], ["/lxc.payload.c1"] * 10)
        self.assertEqual(set(paths["v1"]), {"/lxc.payload.c1", "/user.slice"})

    def test_colon(self) -> None:
        """A path may contain colons: guests choose its last components."""
        self.assertEqual(
            list(parse_cgroups("0::/lxc.payload.c1/a:0::/b\n")),
            ["/lxc.payload.c1/a:0::/b"],
        )

    def test_line_ends(self) -> None:
        """No character in the name of a cgroup ends its line."""
        for end in "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029":
            path = f"/user.slice/x{end}0::/lxc.payload.victim"
            for text in (f"0::{path}\n", f"1:cpu:{path}\n0::{path}\n"):
                self.assertEqual(set(parse_cgroups(text)), {path})

    def test_unknown_format(self) -> None:
        """Text in another format raises `ValueError`."""
        self.assertRaises(ValueError, parse_cgroups, "nonsense\n")
