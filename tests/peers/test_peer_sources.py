"""Tests of `devlxd.peers.peer_sources`, and the contract of `IPeerSource`."""

from __future__ import annotations

import os
import socket
from contextlib import AbstractContextManager

from twisted.internet.interfaces import ISystemHandle, ITransport
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides, implementer

from devlxd.interfaces import IAcceptedTransport, IPeerSource, NotInContainer
from devlxd.model import Peer
from devlxd.peers.peer_sources import AnonymousPeerSource, SocketPeerSource
from devlxd.testing import MemoryPeerSource
from devlxd.testing.contracts import (
    PeerSourceContract,
    PidfdContract,
    UnknownPeerContract,
)
from tests.descriptors import Descriptors

#: No socket option has this number: the kernel rejects it, as an older kernel
#: rejects ``SO_PEERPIDFD``.
NO_OPTION = 9999


def transport_on(handle: object) -> StringTransport:
    """Return a transport whose system handle is ``handle``."""
    transport = StringTransport()
    transport.getHandle = lambda: handle  # type: ignore[attr-defined] # no such method
    alsoProvides(transport, ISystemHandle)
    return transport


class MemoryPeerSourceTests(UnknownPeerContract, SynchronousTestCase):
    """The contract of `IPeerSource`, run on `MemoryPeerSource`."""

    def make_source(self) -> IPeerSource:
        return MemoryPeerSource()

    def make_transport(self) -> ITransport:
        return StringTransport()

    def open_unknown_peer(self) -> AbstractContextManager[Peer]:
        return MemoryPeerSource(None).open_peer(StringTransport())


class AnonymousPeerSourceTests(PeerSourceContract, SynchronousTestCase):
    """The contract of `IPeerSource`, run on `AnonymousPeerSource`."""

    def make_source(self) -> IPeerSource:
        return AnonymousPeerSource()

    def make_transport(self) -> ITransport:
        return StringTransport()


class SocketPeerSourceTests(PidfdContract, UnknownPeerContract, SynchronousTestCase):
    """`SocketPeerSource`; the peer is this process."""

    def make_source(self) -> IPeerSource:
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.addCleanup(self.ours.close)
        return SocketPeerSource()

    def make_transport(self) -> ITransport:
        return transport_on(self.ours)

    def open_unknown_peer(self) -> AbstractContextManager[Peer]:
        return self.source.open_peer(StringTransport())

    def test_peer(self) -> None:
        """The peer is the process that has made the connection."""
        with self.source.open_peer(transport_on(self.ours)) as peer:
            self.assertEqual(
                (peer.pid, peer.uid, peer.gid),
                (os.getpid(), os.geteuid(), os.getegid()),
            )

    def test_accepted_socket(self) -> None:
        """An accepted connection need not be a `socket.socket`, only its base class."""
        accepted = socket.SocketType(
            socket.AF_UNIX, socket.SOCK_STREAM, 0, os.dup(self.ours.fileno())
        )
        self.addCleanup(accepted.close)
        with self.source.open_peer(transport_on(accepted)) as peer:
            self.assertEqual(peer.pid, os.getpid())

    def test_found_when_accepted(self) -> None:
        """A peer that was found when its connection was accepted is used."""

        @implementer(IAcceptedTransport)
        class Transport(StringTransport):
            accepted_peer: Peer | None = None

        transport = Transport()
        opening = self.source.open_peer(transport)
        self.assertRaises(NotInContainer, opening.__enter__)
        transport.accepted_peer = Peer(1, 2, 3, 4)
        with self.source.open_peer(transport) as peer:
            self.assertIs(peer, transport.accepted_peer)

    def test_older_kernel(self) -> None:
        """If the kernel has no ``SO_PEERPIDFD``, pidfds are opened by pid.

        A warning is logged.
        """
        with capturedLogs() as events:
            sources = [SocketPeerSource(), SocketPeerSource(NO_OPTION)]
        self.assertEqual(len(events), 1)
        self.assertIn("SO_PEERPIDFD", events[0]["log_format"])
        for source in sources:
            with source.open_peer(transport_on(self.ours)) as peer:
                assert peer.pidfd is not None
                with open(f"/proc/self/fdinfo/{peer.pidfd}") as file:
                    self.assertIn(f"Pid:\t{os.getpid()}\n", file.read())

    def test_no_leaks(self) -> None:
        """After the ``with`` block, no file descriptor is left open."""
        descriptors = Descriptors()
        with self.source.open_peer(transport_on(self.ours)):
            pass
        opening = self.source.open_peer(transport_on(self.ours))
        opening.__enter__()
        error = ZeroDivisionError()
        self.assertFalse(opening.__exit__(type(error), error, None))
        self.assertEqual(descriptors.opened(), [])

    def test_no_peer(self) -> None:
        """A connection without a peer is refused, and not identified as root's."""
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
            opening = self.source.open_peer(transport)
            error = self.assertRaises(NotInContainer, opening.__enter__)
            self.assertIn(error.kind, ("no peer", "no UNIX socket"))


class OlderKernelPeerSourceTests(SocketPeerSourceTests):
    """`SocketPeerSource` on a kernel without ``SO_PEERPIDFD``."""

    def make_source(self) -> IPeerSource:
        super().make_source()
        return SocketPeerSource(NO_OPTION)
