"""Tests of `devlxd.httpserver.door`."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from twisted.internet.protocol import ServerFactory
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory import MemoryStore
from devlxd.guestapi.dialects import DEFAULT_DIALECT
from devlxd.httpserver.door import Door
from devlxd.httpserver.registry import (
    AT_ONCE,
    COST,
    PROCESS_REMEMBERED,
    STRANGERS,
)
from devlxd.model import Caller, Container
from devlxd.service import GuestSites
from devlxd.socket_options import cgroup_of
from devlxd.testing import (
    GUEST,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
)

#: How many connections one container may have here.
MOST = AT_ONCE + 10

#: How many of them are let in at once.
FIRST = AT_ONCE // COST


class Reactor(MemoryDevLXDReactor):
    """Adopts connections, or fails to.

    :ivar fails: whether it fails.
    :ivar identify: is called when it does not, as the channel would.
    """

    fails = False
    identify: Callable[[], None] | None = None

    def adoptStreamConnection(
        self, fileDescriptor: int, addressFamily: int, factory: ServerFactory
    ) -> None:
        """See `IReactorSocket.adoptStreamConnection`."""
        if self.fails:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        super().adoptStreamConnection(fileDescriptor, addressFamily, factory)
        if self.identify is not None:
            self.identify()


class DoorTests(SynchronousTestCase):
    """Letting connections in."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        site = GuestSites(
            MemoryStore([Container("c1")]),
            MemoryIdentifier({GUEST.pid: Caller("c1", uid=0)}),
            MemoryPeerSource(),
            self.reactor,
            max_connections=MOST,
        ).site(DEFAULT_DIALECT)
        self.registry = site.server.registry
        self.door = Door(site, self.reactor)
        self.guests: list[socket.socket] = []

    def connect(self, count: int = 1) -> None:
        """Let some guests arrive; all of them are this process."""
        for _ in range(count):
            ours, guest = socket.socketpair()
            self.addCleanup(guest.close)
            self.guests.append(guest)
            self.door.arrived(ours)

    @property
    def let_in(self) -> int:
        """How many were let in."""
        return len(self.reactor.adoptedStreamConnections)

    def closed(self) -> int:
        """Count the guests whose connection was closed.

        This reactor takes no descriptor of its own of those that it adopts.
        """
        return sum(guest.recv(1, socket.MSG_DONTWAIT) == b"" for guest in self.guests)

    def test_at_once(self) -> None:
        """Who comes alone is let in at once."""
        self.connect()
        self.assertEqual(self.let_in, 1)

    def test_flood(self) -> None:
        """Of a flood the first are let in at once, others in turns, the rest never."""
        with capturedLogs() as events:
            self.connect(FIRST + MOST + 50)
        self.assertEqual(self.let_in, FIRST)
        self.reactor.advance(0)
        self.assertEqual(self.let_in, FIRST + MOST)
        self.assertEqual(self.closed(), FIRST + MOST + 50)
        self.assertIn("too many connections", events[0]["log_format"])

    def test_known(self) -> None:
        """The surplus of a container is refused by what is known of its process."""
        for n in range(MOST):
            self.registry.add("c1", n)  # type: ignore[arg-type] # any will do
        self.connect()
        self.assertEqual(self.let_in, 1)
        self.registry.processes.put(os.getpid(), "c1")
        self.connect()
        self.assertEqual(self.let_in, 1)

    def test_known_cgroup(self) -> None:
        """So is that of a process that has just begun, by its cgroup."""
        processes = self.registry.processes
        self.reactor.identify = lambda: processes.put(os.getpid(), "c1")
        self.connect()
        cgroup = cgroup_of(self.guests[0], os.getpid())
        self.reactor.advance(PROCESS_REMEMBERED)
        self.assertEqual(self.registry.cgroups.get(cgroup, None), "c1")
        for n in range(MOST):
            self.registry.add("c1", n)  # type: ignore[arg-type] # any will do
        self.connect()
        self.assertEqual(self.let_in, 1)

    def test_not_its_turn_any_more(self) -> None:
        """Who went while it waited costs no more than that."""
        self.registry.take_turn(STRANGERS, lambda: None)
        self.connect(2)
        self.guests[0].close()
        del self.guests[0]
        self.reactor.advance(0)
        self.assertEqual(self.let_in, 1)

    def test_closed(self) -> None:
        """When the service stops nobody who waits is let in."""
        self.registry.take_turn(STRANGERS, lambda: None)
        self.connect()
        self.door.close()
        self.reactor.advance(0)
        self.assertEqual((self.let_in, self.closed()), (0, 1))

    def test_no_descriptors(self) -> None:
        """A connection for which there is no descriptor is closed, and logged."""
        self.reactor.fails = True
        with capturedLogs() as events:
            self.connect()
        self.assertEqual(self.closed(), 1)
        self.assertEqual(events[0]["reason"], os.strerror(errno.EMFILE))
