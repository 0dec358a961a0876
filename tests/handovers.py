"""Two processes of devlxd, one after the other: real sockets, reactors in memory."""

from __future__ import annotations

import os
import re
import select
import socket
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.unix import Server
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.events.journal import SQLiteJournal
from devlxd.guest_endpoints import Place
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.host.adopted import AdoptedEndpoint
from devlxd.interfaces import ICallerIdentifier, IContainerStore, IPeerSource
from devlxd.limits import CurrentLimits
from devlxd.model import Caller, Container, HandedOver, Init
from devlxd.service import DevLXDService
from devlxd.testing import (
    GUEST,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
)

UUID = {"volatile.uuid": "1"}

C1 = Container("c1", {"user.a": "0", **UUID})

CALLER = Caller("c1", uid=0, run=1, init=Init(1234, 5678, "boot"))

#: The time in the first process, in seconds.
START = 10**9


class SocketReactor(MemoryDevLXDReactor):
    """A reactor in memory whose transports have real sockets."""

    def run_until_idle(self) -> None:
        """Do what a reactor does, until nothing is ready."""
        while self._serve_ready() or any(
            call.getTime() <= self.seconds() for call in self.getDelayedCalls()
        ):
            self.advance(0)

    def _serve_ready(self) -> bool:
        poll = select.poll()
        events: dict[int, int] = {}
        by_descriptor: dict[int, object] = {}
        for ready, descriptors in (
            (select.POLLIN, self.getReaders()),
            (select.POLLOUT, self.getWriters()),
        ):
            for one in descriptors:
                events[one.fileno()] = events.get(one.fileno(), 0) | ready
                by_descriptor[one.fileno()] = one
        for fileno, mask in events.items():
            poll.register(fileno, mask)
        served = False
        for fileno, mask in poll.poll(0):
            one = by_descriptor[fileno]
            if mask & (select.POLLIN | select.POLLHUP) and one in self.getReaders():
                self._call(one, "doRead")
                served = True
            if mask & (select.POLLOUT | select.POLLHUP) and one in self.getWriters():
                self._call(one, "doWrite")
                served = True
        return served

    def _call(self, descriptor: object, method: str) -> None:
        """Call a method of a transport as a reactor does for a ready socket."""
        why = getattr(descriptor, method)()
        if not isinstance(why, Exception):
            return
        assert isinstance(descriptor, Server)
        if method == "doRead" and isinstance(why, ConnectionDone):
            descriptor.readConnectionLost(Failure(why))
        else:
            descriptor.connectionLost(Failure(why))


class Client:
    """A client of a real socket."""

    def __init__(self, address: bytes | str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(address)
        self.socket.setblocking(False)
        #: Whether the server has closed the connection.
        self.is_closed = False

    def read(self) -> bytes:
        """Return the data that was received."""
        received = b""
        while not self.is_closed:
            try:
                data = self.socket.recv(2**16)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            self.is_closed = not data
            received += data
        return received


class HandoverTestCase(SynchronousTestCase):
    """A base class: a service in one process, and then in another one.

    :ivar reactor: that of the current process.
    :ivar service: that of the current process.
    """

    dialect: Dialect = LXD
    limits: CurrentLimits | None = None
    reactor: SocketReactor
    service: DevLXDService

    def setUp(self) -> None:
        self.store: IContainerStore = MemoryStore([C1])
        self.identifier: ICallerIdentifier = MemoryIdentifier({GUEST.pid: CALLER})
        self.peers: IPeerSource = MemoryPeerSource()
        self.listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listening.close)
        self.listening.bind("")
        self.listening.listen(100)
        self.journal = Path(self.mktemp())
        self.now = START
        self.clients: list[Client] = []
        self.addCleanup(self.close_clients)
        self.start()
        self.addCleanup(lambda: self.successResultOf(self.stop()))

    def close_clients(self) -> None:
        """Close the clients' sockets."""
        for client in self.clients:
            client.socket.close()

    def place(self) -> Place:
        """Return where the service listens."""
        return AdoptedEndpoint(self.listening.fileno())

    def start(self) -> None:
        """Start a process, which listens."""
        self.reactor = SocketReactor()
        self.reactor.advance(self.now)
        self.service = DevLXDService(
            self.reactor,
            self.store,
            {self.dialect: self.place()},
            self.identifier,
            self.peers,
            journal=SQLiteJournal(str(self.journal)),
            now=lambda: int(self.reactor.seconds() * 10**9),
            limits=self.limits,
        )
        self.service.privilegedStartService()
        self.service.startService()

    def stop(self) -> Deferred[None]:
        """Stop the process."""
        stopped: Deferred[None] = self.service.stopService()
        self.reactor.run_until_idle()
        self.reactor.advance(3)
        self.reactor.run_until_idle()
        return stopped

    def connect(self) -> Client:
        """Connect as a guest; the connection is accepted later."""
        client = Client(self.listening.getsockname())
        self.clients.append(client)
        return client

    def ask(self, client: Client, data: bytes = b"") -> bytes:
        """Send data, and return everything that is received then."""
        pending = memoryview(data)
        received = b""
        while True:
            try:
                sent = client.socket.send(pending) if pending else 0
            except BlockingIOError:
                sent = 0
            pending = pending[sent:]
            self.reactor.run_until_idle()
            more = client.read()
            received += more
            if not more and not sent:
                return received

    def get(self, client: Client, path: str = "/1.0/config/user.a") -> bytes:
        """Send a request, and return the response."""
        return self.ask(client, b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())

    def hand_over(self) -> list[HandedOver]:
        """End the process; return the connections that it has handed over."""
        handed_over = self.service.hand_over()
        self.reactor.run_until_idle()
        self.reactor.advance(2)
        self.reactor.run_until_idle()
        connections = self.successResultOf(handed_over)
        self.assertEqual(self.service_connections(), 0)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.reactor.getReaders(), [])
        self.assertEqual(self.reactor.getWriters(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.now += 60
        return connections

    def service_connections(self) -> int:
        """Return the number of open connections of the service."""
        return sum(len(one.site.server.all()) for one in self.service._listeners)

    def restart(self, between: Callable[[], object] = lambda: None) -> list[HandedOver]:
        """Hand over to a new process.

        :param between: called while there is no process.
        :return: the connections that were handed over; their descriptors are closed.
        """
        connections = self.hand_over()
        between()
        self.continue_with(connections)
        return connections

    def continue_with(self, connections: list[HandedOver]) -> None:
        """Start the next process."""
        if self.service.running:
            self.successResultOf(self.service.stopService())
        self.start()
        for other in self.service.adopt(connections):
            os.close(other.descriptor)
        self.reactor.run_until_idle()

    def put(self, value: str, **config: str) -> None:
        """Change the value of ``user.a``, and set the other config keys."""
        assert isinstance(self.store, MemoryStore)
        self.store.put(Container("c1", {"user.a": value, **UUID, **config}))


def without_date(response: bytes) -> bytes:
    """Return responses without their ``Date`` headers."""
    return re.sub(rb"Date: [^\r]*\r\n", b"", response)
