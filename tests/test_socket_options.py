"""Tests of `devlxd.socket_options`."""

from __future__ import annotations

import errno
import os
import socket

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd import pidfds
from devlxd.socket_options import (
    SO_PASSRIGHTS,
    AcceptedPeer,
    credentials_of,
    is_listening,
    pidfd_of,
    refuse_descriptors,
)
from tests.descriptors import Descriptors


class PeerTests(SynchronousTestCase):
    """Facts about the peer of a connection, which is this process."""

    def setUp(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)

    def test_credentials(self) -> None:
        """The peer has a pid, a uid and a gid."""
        self.assertEqual(
            credentials_of(self.ours), (os.getpid(), os.getuid(), os.getgid())
        )

    def test_pidfd(self) -> None:
        """The pidfd of the peer refers to its process."""
        pidfd = pidfd_of(self.ours)
        self.addCleanup(os.close, pidfd)
        with open(f"/proc/self/fdinfo/{pidfd}") as file:
            self.assertIn(f"Pid:\t{os.getpid()}\n", file.read())

    def test_no_pidfd(self) -> None:
        """A kernel without the option raises ENOPROTOOPT."""
        error = self.assertRaises(OSError, pidfd_of, self.ours, 9999)
        self.assertEqual(error.errno, errno.ENOPROTOOPT)

    def test_cgroup(self) -> None:
        """Peers in one cgroup have the same value, also on older kernels."""
        descriptors = Descriptors()
        for _ in range(2):
            peers = [AcceptedPeer(end) for end in (self.ours, self.theirs)]
            cgroups = {peer.cgroup() for peer in peers}
            self.assertEqual(len(cgroups), 1)
            self.assertNotIn(None, cgroups)
            for peer in peers:
                peer.close()
            self.patch(pidfds, "_GET_INFO", 0)
        self.assertEqual(descriptors.opened(), [])

    def test_no_cgroup(self) -> None:
        """A peer that has ended has no cgroup."""
        peer = AcceptedPeer(self.ours)
        self.theirs.close()
        self.ours.close()
        peer.pid = 2**30
        self.assertIsNone(peer.cgroup())
        self.assertIsNone(peer.identity())

    def test_identity(self) -> None:
        """The pidfd of the peer is opened once, and closed at the end."""
        descriptors = Descriptors()
        peer = AcceptedPeer(self.ours)
        peer.cgroup()
        identity = peer.identity()
        assert identity is not None
        self.assertEqual(identity, peer.identity())
        self.assertEqual(
            (identity.pid, identity.uid, identity.gid),
            (os.getpid(), os.getuid(), os.getgid()),
        )
        self.assertEqual(len(descriptors.opened()), 1)
        for _ in range(2):
            peer.close()
        self.assertEqual(descriptors.opened(), [])


class RefuseDescriptorsTests(SynchronousTestCase):
    """File descriptors that peers send (SCM_RIGHTS, ``unix(7)``)."""

    def test_refused(self) -> None:
        """The kernel refuses file descriptors, or a warning is logged."""
        with socket.socket(socket.AF_UNIX) as listening, capturedLogs() as events:
            refuse_descriptors(listening)
            if not events:
                option = listening.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS)
                self.assertEqual(option, 0)
        with socket.socket() as other, capturedLogs() as events:
            refuse_descriptors(other)
        self.assertIn("SO_PASSRIGHTS", events[0]["log_format"])


class ListeningTests(SynchronousTestCase):
    """Whether a file descriptor is a listening socket."""

    def test_listening(self) -> None:
        """Connections and files are none; the descriptor stays open."""
        with socket.socket(socket.AF_UNIX) as one, open(os.devnull) as file:
            self.assertFalse(is_listening(one.fileno()))
            one.bind("")
            one.listen()
            self.assertTrue(is_listening(one.fileno()))
            self.assertTrue(is_listening(one.fileno()))
            self.assertFalse(is_listening(file.fileno()))
