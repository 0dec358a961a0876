"""Tests of `devlxd.httpserver.connection_limiter`."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Protocol
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.dialects import DEFAULT_DIALECT
from devlxd.httpserver.connection_limiter import ConnectionLimiter
from devlxd.httpserver.registry import (
    CONNECTION_COST,
    PROCESS_EXPIRY,
    REQUESTS_PER_ITERATION,
    UNIDENTIFIED,
)
from devlxd.model import Caller, Container
from devlxd.socket_options import cgroup_of
from devlxd.testing import (
    GUEST,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
)
from tests.default_limits import limits

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


class ConnectionLimiterTests(SynchronousTestCase):
    """Admission of new connections."""

    def setUp(self) -> None:
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
        self.patch(self.site, "buildProtocol", self.admit)

    def admit(self, _: object) -> Protocol:
        """Return a protocol for an admitted connection, in place of a channel."""
        self.admitted += 1
        self.identify()
        return Protocol()

    def connect(self, count: int = 1, guess: Hashable = UNIDENTIFIED) -> None:
        """Pass new connections to the limiter; the peer of each is this process."""
        for _ in range(count):
            ours, guest = socket.socketpair()
            self.addCleanup(guest.close)
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
        cgroup = cgroup_of(self.guests[0], os.getpid())
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
