"""Tests of `devlxd.httpserver.connection_limiter`."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Hashable

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd import fast_paths
from devlxd.containers.memory_store import MemoryStore
from devlxd.fast_paths import FastPath
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.dialects import DEFAULT_DIALECT
from devlxd.httpserver.channel import DevLXDChannel
from devlxd.httpserver.connection_limiter import ConnectionLimiter
from devlxd.httpserver.registry import (
    CONNECTION_COST,
    PROCESS_EXPIRY,
    REQUESTS_PER_ITERATION,
    UNIDENTIFIED,
)
from devlxd.interfaces import IAcceptedTransport, ITurn
from devlxd.model import Caller, Container, Peer
from devlxd.socket_options import AcceptedPeer
from devlxd.testing import (
    GUEST,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
)
from tests.default_limits import limits
from tests.descriptors import Descriptors
from tests.httpserver.sockets import SocketClient

#: A request to which the response is a line.
GET = b"GET / HTTP/1.1\r\nHost: lxd\r\n\r\n"

#: The limit of connections of one container in these tests.
LIMIT = REQUESTS_PER_ITERATION + 10

#: How many new connections are admitted without taking turns.
ADMITTED_IMMEDIATELY = REQUESTS_PER_ITERATION // CONNECTION_COST


class FullReactor(MemoryDevLXDReactor):
    """A reactor that accepts no more readers."""

    def addReader(self, reader: IReadDescriptor) -> None:
        """See `IReactorFDSet.addReader`."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_closed(guest: socket.socket) -> bool:
    """Return whether the peer has closed a connection."""
    try:
        return not guest.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        # What the guest has sent was not read.
        return True


class ConnectionLimiterTests(SynchronousTestCase):
    """Admission of new connections."""

    def setUp(self) -> None:
        # The tests need not wait for responses.
        self.patch(fast_paths, "enabled", {FastPath.WRITES})
        self.reactor = MemoryDevLXDReactor()
        self.site = GuestSites(
            MemoryStore([Container("c1")]),
            MemoryIdentifier({GUEST.pid: Caller("c1", uid=0)}),
            MemoryPeerSource(),
            self.reactor,
            limits=limits(connections=LIMIT),
        ).site(DEFAULT_DIALECT)
        self.registry = self.site.server.registry
        self.limiter = ConnectionLimiter(self.site, self.reactor)
        self.guests: list[socket.socket] = []
        self.admitted = 0
        # In place of the identification of the caller by a channel.
        self.identify: Callable[[], None] = lambda: None
        self.build = self.site.buildProtocol
        self.patch(self.site, "buildProtocol", self.admit)

    def admit(self, _: object) -> Protocol:
        """Return a protocol for an admitted connection, in place of a channel."""
        self.admitted += 1
        self.identify()
        return Protocol()

    def connect(
        self, count: int = 1, sent: bytes = b"", guess: Hashable = UNIDENTIFIED
    ) -> None:
        """Pass new connections to the limiter; the peer of each is this process.

        :param sent: what each guest has sent before.
        """
        for _ in range(count):
            ours, guest = socket.socketpair()
            self.addCleanup(guest.close)
            guest.sendall(sent)
            self.guests.append(guest)
            self.limiter.connection_accepted(ours, guess)

    def closed(self) -> int:
        """Return how many connections were closed."""
        return sum(map(is_closed, self.guests))

    def test_immediately(self) -> None:
        """A single connection is admitted immediately."""
        self.connect()
        self.assertEqual(self.admitted, 1)

    def test_flood(self) -> None:
        """Connections are admitted in turns up to the limit; the others are closed."""
        with capturedLogs() as events:
            self.connect(ADMITTED_IMMEDIATELY + LIMIT + 50)
        self.assertEqual(self.admitted, ADMITTED_IMMEDIATELY)
        self.reactor.advance(0)
        self.assertEqual(self.admitted, ADMITTED_IMMEDIATELY + LIMIT)
        self.assertEqual(self.closed(), 50)
        self.assertIn("too many connections", events[0]["log_format"])

    def test_known_process(self) -> None:
        """Surplus connections of a known process are closed before admission."""
        for n in range(LIMIT):
            self.registry.add("c1", n)  # type: ignore[arg-type] # any hashable value
        self.connect()
        self.assertEqual(self.admitted, 1)
        self.registry.processes.put(os.getpid(), "c1")
        self.connect()
        self.assertEqual(self.admitted, 1)

    def test_known_cgroup(self) -> None:
        """Surplus connections of a new process in a known cgroup are closed, too."""
        processes = self.registry.processes
        self.identify = lambda: processes.put(os.getpid(), "c1")
        self.connect()
        cgroup = AcceptedPeer(self.guests[0]).cgroup()
        self.reactor.advance(PROCESS_EXPIRY)
        self.assertEqual(self.registry.cgroups.get(cgroup, None), "c1")
        for n in range(LIMIT):
            self.registry.add("c1", n)  # type: ignore[arg-type] # any hashable value
        self.connect()
        self.assertEqual(self.admitted, 1)

    def test_closed_while_pending(self) -> None:
        """A pending connection that the client closes is not admitted."""
        self.registry.take_turn(UNIDENTIFIED, lambda: None)
        self.connect(2)
        self.guests[0].close()
        del self.guests[0]
        self.reactor.advance(0)
        self.assertEqual(self.admitted, 1)

    def test_closed(self) -> None:
        """When the service stops, pending connections are closed."""
        self.registry.take_turn(UNIDENTIFIED, lambda: None)
        self.connect()
        self.limiter.close()
        self.assertEqual((self.admitted, self.closed()), (0, 1))
        self.reactor.advance(0)
        self.assertEqual(self.admitted, 0)

    def test_sent(self) -> None:
        """What a guest has sent before it is admitted is answered at once."""
        self.patch(self.site, "buildProtocol", self.build)
        self.connect(ADMITTED_IMMEDIATELY, GET)
        for guest in self.guests:
            self.assertTrue(guest.recv(1000, socket.MSG_DONTWAIT).endswith(b"\n"))

    def test_sent_in_turn(self) -> None:
        """What is sent by a guest that waits for a turn is answered in that turn."""
        self.patch(self.site, "buildProtocol", self.build)
        self.registry.take_turn(UNIDENTIFIED, lambda: None)
        self.connect(1, GET)
        (guest,) = self.guests
        self.assertRaises(BlockingIOError, guest.recv, 1, socket.MSG_DONTWAIT)
        self.reactor.advance(0)
        self.assertTrue(guest.recv(1000, socket.MSG_DONTWAIT).endswith(b"\n"))

    def record_turns(self) -> list[Hashable]:
        """Return a list that gets the owner of each turn that is taken from now on."""
        owners: list[Hashable] = []
        take = self.registry.take_turn

        def take_turn(owner: Hashable, work: Callable[[], None]) -> ITurn:
            owners.append(owner)
            return take(owner, work)

        self.patch(self.registry, "take_turn", take_turn)
        return owners

    def test_one_turn(self) -> None:
        """A new connection and its first request take one turn of their owner."""
        self.patch(self.site, "buildProtocol", self.build)
        owners = self.record_turns()
        self.registry.processes.put(os.getpid(), "c1")
        self.connect(LIMIT, GET)
        self.reactor.advance(0)
        for guest in self.guests:
            self.assertTrue(guest.recv(1000, socket.MSG_DONTWAIT).endswith(b"\n"))
        self.assertEqual(owners, ["c1"] * (LIMIT - ADMITTED_IMMEDIATELY))

    def test_turn_of_another(self) -> None:
        """A request is not served in the turn of another owner, if its own has many."""
        self.patch(self.site, "buildProtocol", self.build)
        for n in range(REQUESTS_PER_ITERATION):
            self.registry.add("c1", n)  # type: ignore[arg-type] # any hashable value
        self.registry.take_turn(UNIDENTIFIED, lambda: None)
        self.connect(1, GET)
        for _ in range(3):
            self.registry.take_turn("c1", lambda: None)
        owners = self.record_turns()
        self.reactor.advance(0)
        self.assertEqual(owners, ["c1"])

    def test_closed_by_guest(self) -> None:
        """A connection that a guest closes after a response is closed at once."""
        self.patch(self.site, "buildProtocol", self.build)
        client = SocketClient(self.site)
        self.assertTrue(client.send(GET).endswith(b"\n"))
        self.assertEqual(len(list(self.registry.all())), 1)
        client.close()
        transport = client.transport
        assert transport is not None
        reason = transport.doRead()
        self.assertIsInstance(reason, ConnectionDone)
        transport.readConnectionLost(connectionDone)
        self.assertEqual(list(self.registry.all()), [])
        self.assertNotIn(transport, self.reactor.readers)
        self.assertNotIn(transport, self.reactor.writers)

    def test_fails(self) -> None:
        """A connection whose channel fails is closed, and the failure is reported."""

        def fail(channel: object, is_turn: bool) -> None:
            raise ZeroDivisionError("on purpose")

        self.patch(self.site, "buildProtocol", self.build)
        self.patch(DevLXDChannel, "receive_now", fail)
        self.assertRaises(ZeroDivisionError, self.connect, 1, GET)
        self.reactor.advance(0)
        self.assertEqual(self.closed(), 1)

    def test_fails_early(self) -> None:
        """A connection whose channel fails when it is made is closed as well."""

        def fail() -> None:
            raise ZeroDivisionError("on purpose")

        protocol = Protocol()
        self.patch(protocol, "connectionMade", fail)
        self.patch(self.site, "buildProtocol", lambda _: protocol)
        self.assertRaises(ZeroDivisionError, self.connect)
        self.assertIsNone(IAcceptedTransport(protocol.transport).accepted_peer)
        self.reactor.advance(0)
        self.assertEqual(self.closed(), 1)

    def test_peer(self) -> None:
        """The peer is found once; its pidfd is closed after the identification."""
        peers: list[Peer | None] = []

        class Recorder(Protocol):
            def connectionMade(self) -> None:
                peers.append(IAcceptedTransport(self.transport).accepted_peer)

        recorder = Recorder()
        self.patch(self.site, "buildProtocol", lambda _: recorder)
        descriptors = Descriptors()
        self.connect()
        (peer,) = peers
        assert peer is not None
        self.assertEqual((peer.pid, peer.uid), (os.getpid(), os.getuid()))
        self.assertEqual([fd for fd in descriptors.opened() if "pidfd" in fd], [])
        self.assertIsNone(IAcceptedTransport(recorder.transport).accepted_peer)

    def test_full_reactor(self) -> None:
        """A connection that the reactor does not accept is closed and logged."""
        self.limiter = ConnectionLimiter(self.site, FullReactor())
        with capturedLogs() as events:
            self.connect()
        self.assertEqual(self.closed(), 1)
        self.assertEqual(events[0]["reason"], os.strerror(errno.ENOSPC))

    def test_guess(self) -> None:
        """The owner of an unknown process is guessed by the socket that it calls."""
        for n in range(LIMIT):
            self.registry.add("c2", n)  # type: ignore[arg-type] # any hashable value
        self.connect(guess="c2")
        self.assertEqual(self.admitted, 0)
        self.reactor.advance(0)
        self.connect(guess="c1")
        self.assertEqual(self.admitted, 1)
