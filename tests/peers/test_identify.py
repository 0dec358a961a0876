"""Tests of `devlxd.peers.identify`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.containers.memory import MemoryStore
from devlxd.interfaces import ICallerIdentifier, NotInContainer
from devlxd.model import Caller, Container, Peer
from devlxd.peers.identify import AssumedIdentifier, CgroupIdentifier
from tests.peers.test_idmap import CURRENT, idmap

STORE = MemoryStore(
    [Container("c1", {CURRENT: idmap(100000)}), Container("privileged")]
)


class CgroupIdentifierTests(SynchronousTestCase):
    """Callers by their cgroups."""

    def setUp(self) -> None:
        self.proc = Path(tempfile.mkdtemp(dir="."))
        self.identifier = CgroupIdentifier(STORE, proc=self.proc)

    def identify(self, cgroup: str, uid: int = 100000) -> Caller:
        """Identify a peer whose ``/proc/PID/cgroup`` reads ``cgroup``."""
        process = self.proc / "42"
        process.mkdir()
        (process / "cgroup").write_text(cgroup)
        return self.identifier.identify(Peer(42, uid, uid))

    def test_interface(self) -> None:
        """It identifies callers."""
        self.assertTrue(verifyObject(ICallerIdentifier, self.identifier))

    def test_root(self) -> None:
        """The uid on the host of the container's uid 0 is its root."""
        self.assertEqual(self.identify("0::/lxc.payload.c1\n"), Caller("c1", True))

    def test_not_root(self) -> None:
        """Another user is not, and the host's root least of all."""
        cgroup = "0::/lxc.payload.c1\n"
        self.assertEqual(self.identify(cgroup, 101000), Caller("c1", False))

    def test_no_container(self) -> None:
        """A process of the host is in no container."""
        self.assertRaises(NotInContainer, self.identify, "0::/user.slice\n")

    def test_unknown_container(self) -> None:
        """A container that the store does not know is none."""
        self.assertRaises(NotInContainer, self.identify, "0::/lxc.payload.c9\n")

    def test_contradiction(self) -> None:
        """A peer that is in two containers is in none."""
        cgroup = "1:cpu:/lxc.payload.privileged\n0::/lxc.payload.c1\n"
        self.assertRaises(NotInContainer, self.identify, cgroup)

    def test_gone(self) -> None:
        """A peer that is gone is in none."""
        self.assertRaises(NotInContainer, self.identifier.identify, Peer(43, 0, 0))


class AssumedIdentifierTests(SynchronousTestCase):
    """``--assume``."""

    def test_everybody(self) -> None:
        """Everybody is the root of the container."""
        identifier = AssumedIdentifier("c1")
        self.assertTrue(verifyObject(ICallerIdentifier, identifier))
        self.assertEqual(identifier.identify(Peer(1, 2, 3)), Caller("c1", True))
