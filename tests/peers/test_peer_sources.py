"""Tests of `devlxd.peers.peer_sources`."""

from __future__ import annotations

import os
import socket

from twisted.internet.interfaces import ISystemHandle
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides
from zope.interface.verify import verifyObject

from devlxd.interfaces import IPeerSource, NotInContainer
from devlxd.peers.peer_sources import AnonymousPeerSource, SocketPeerSource
from devlxd.testing import MemoryPeerSource
from tests.descriptors import Descriptors


def transport_on(handle: object) -> StringTransport:
    """Make a transport whose system handle is ``handle``."""
    transport = StringTransport()
    transport.getHandle = lambda: handle  # type: ignore[attr-defined] # no such method
    alsoProvides(transport, ISystemHandle)
    return transport


class SocketPeerSourceTests(SynchronousTestCase):
    """What the kernel says of a connection."""

    def setUp(self) -> None:
        self.source = SocketPeerSource()
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.addCleanup(self.ours.close)

    def test_interface(self) -> None:
        """It is a peer source."""
        for source in (self.source, AnonymousPeerSource(), MemoryPeerSource()):
            self.assertTrue(verifyObject(IPeerSource, source))

    def test_peer(self) -> None:
        """The peer is who made the connection: here, this very process."""
        with self.source.hold(transport_on(self.ours)) as peer:
            self.assertEqual(
                (peer.pid, peer.uid, peer.gid),
                (os.getpid(), os.geteuid(), os.getegid()),
            )

    def test_pidfd(self) -> None:
        """It comes with a pidfd, which the kernel hands out, or by its pid."""
        old_kernel = 9999  # no such option
        with capturedLogs() as events:
            sources = [SocketPeerSource(), SocketPeerSource(old_kernel)]
        self.assertEqual(len(events), 1)
        self.assertIn("SO_PEERPIDFD", events[0]["log_format"])
        for source in sources:
            with source.hold(transport_on(self.ours)) as peer:
                assert peer.pidfd is not None
                with open(f"/proc/self/fdinfo/{peer.pidfd}") as file:
                    self.assertIn(f"Pid:\t{os.getpid()}\n", file.read())

    def test_pidfd_is_not_leaked(self) -> None:
        """The pidfd is open inside the block and nowhere else."""
        descriptors = Descriptors()
        with self.source.hold(transport_on(self.ours)):
            pass
        holding = self.source.hold(transport_on(self.ours))
        holding.__enter__()
        error = ZeroDivisionError()
        self.assertFalse(holding.__exit__(type(error), error, None))
        self.assertEqual(descriptors.opened(), [])

    def test_nobody(self) -> None:
        """A connection that tells of nobody is refused, never taken for root's."""
        tcp = socket.socket(socket.AF_INET)
        self.addCleanup(tcp.close)
        closed = socket.socket(socket.AF_UNIX)
        closed.close()
        for transport in (
            StringTransport(),
            transport_on(tcp),
            transport_on(closed),
            transport_on(None),
        ):
            holding = self.source.hold(transport)
            error = self.assertRaises(NotInContainer, holding.__enter__)
            self.assertIn(error.kind, ("no peer", "no UNIX socket"))
