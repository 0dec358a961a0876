"""Tests of `devlxd.each_listener`, in services with real sockets."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile

from attrs import evolve
from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs, formatEvent

from devlxd.containers.memory_store import MemoryStore
from devlxd.each_listener import EachListener
from devlxd.guest_endpoints import Place
from devlxd.guest_sites import connections_per_container
from devlxd.model import Caller, Container, HandedOver, Listener
from devlxd.service import DevLXDService
from devlxd.testing import GUEST, MemoryIdentifier, MemoryPeerSource
from tests.default_limits import limits
from tests.handovers import C1, CALLER, Client, HandoverTestCase

C2 = Container("c2", {"user.a": "2"})

EVENTS = "/1.0/events"

#: The process that is in the container ``c2``.
OTHER = evolve(GUEST, pid=GUEST.pid + 1)


class EachTestCase(HandoverTestCase):
    """A service with a socket for each container, in one process after the other."""

    def setUp(self) -> None:
        self.home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.home)
        super().setUp()
        self.memory_store.put(C2)
        self.callers = {GUEST.pid: CALLER, OTHER.pid: Caller("c2", uid=0)}
        self.identifier = MemoryIdentifier(self.callers)
        self.start_again()

    def start_again(self) -> None:
        """Stop and start, without a handover, and make the sockets."""
        self.successResultOf(self.stop())
        self.start()
        self.reactor.run_until_idle()

    @property
    def memory_store(self) -> MemoryStore:
        """The store."""
        assert isinstance(self.store, MemoryStore)
        return self.store

    def place(self) -> Place:
        """See `HandoverTestCase.place`."""
        return f"each:{self.home}/each"

    def path(self, name: str = "c1") -> str:
        """Return the path of the socket of a container."""
        return f"{self.home}/each/{name}/sock"

    def connect(self, name: str = "c1") -> Client:
        """Connect to the socket of a container."""
        client = Client(self.path(name))
        self.clients.append(client)
        return client

    @property
    def listener(self) -> EachListener:
        """The only listener of the service."""
        (listener,) = self.service._listeners
        assert isinstance(listener, EachListener)
        return listener


class EachListenerTests(EachTestCase):
    """Guests at their own sockets."""

    def test_served(self) -> None:
        """A guest that calls its own socket is answered."""
        self.assertTrue(self.get(self.connect()).endswith(b"\r\n\r\n0"))

    def test_refused(self) -> None:
        """One that calls the socket of another container is in no container."""
        with capturedLogs() as events:
            response = self.get(self.connect("c2"))
        self.assertTrue(response.startswith(b"HTTP/1.1 500 "))
        self.assertTrue(response.endswith(b"not in a container\n"))
        (line,) = [formatEvent(event) or "" for event in events]
        self.assertIn("it is in c1, but has called the socket of c2", line)

    def test_come_and_go(self) -> None:
        """Containers have a socket while they are in the store."""
        self.memory_store.put(Container("c3"))
        self.reactor.run_until_idle()
        self.connect("c3")
        self.memory_store.remove("c3")
        self.reactor.run_until_idle()
        self.assertRaises(FileNotFoundError, self.connect, "c3")

    def test_listener(self) -> None:
        """Operators see one place, with the number of sockets."""
        address = f"each:{self.home}/each"
        self.assertEqual(
            self.service.listeners(), [Listener("lxd", address, True, 2, 0)]
        )
        os.rename(f"{self.home}/each", f"{self.home}/moved")
        self.assertFalse(self.service.listeners()[0].is_listening)
        os.rename(f"{self.home}/moved", f"{self.home}/each")
        self.successResultOf(self.stop())
        self.assertEqual(
            self.service.listeners(), [Listener("lxd", address, False, 0, 0)]
        )

    def test_explained(self) -> None:
        """An explanation says which socket the container must call."""
        *_, step = self.service.explain(GUEST.pid).steps
        self.assertEqual(step.detail, f"c1 must call {self.path()}")
        self.memory_store.remove("c1")
        self.reactor.run_until_idle()
        *_, step = self.service.explain(GUEST.pid).steps
        self.assertEqual(step.result.value, "failed")
        self.assertEqual(step.detail, f"{self.path()} is missing: it is not made yet")
        self.assertEqual(len(self.service.explain(1).steps), 1)

    def test_locked(self) -> None:
        """A second service does not start in the same directory."""
        other = DevLXDService(self.reactor, self.store, {"lxd": self.place()})
        error = self.assertRaises(CannotListenError, other.privilegedStartService)
        self.assertIn(f"another devlxd (pid {os.getpid()})", str(error))
        self.successResultOf(other.stopService())
        self.assertTrue(self.get(self.connect()).endswith(b"0"))

    def test_abandoned(self) -> None:
        """If another endpoint cannot listen, nothing is left; it can start again."""
        self.successResultOf(self.stop())
        listen = {"lxd": [self.place(), f"{self.home}/missing/sock"]}
        service = DevLXDService(self.reactor, self.store, listen, MemoryIdentifier())
        self.assertRaises(CannotListenError, service.privilegedStartService)
        self.assertFalse(service.listeners()[0].is_listening)
        self.start()
        self.reactor.run_until_idle()
        self.assertTrue(self.get(self.connect()).endswith(b"0"))

    def test_stop(self) -> None:
        """Connections are closed, sockets removed, and the directories stay."""
        client = self.connect()
        self.get(client)
        before = os.stat(os.path.dirname(self.path())).st_ino
        self.successResultOf(self.stop())
        self.assertEqual(client.read(), b"")
        self.assertTrue(client.is_closed)
        self.assertRaises(FileNotFoundError, self.connect)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.start()
        self.reactor.run_until_idle()
        self.assertTrue(self.get(self.connect()).endswith(b"0"))
        self.assertEqual(os.stat(os.path.dirname(self.path())).st_ino, before)

    def test_connections(self) -> None:
        """The sockets leave fewer files to the connections of one container."""
        most = connections_per_container(limits(connections=1_000_000))
        fewer = connections_per_container(
            limits(connections=1_000_000), lambda: 4 * 10**9
        )
        self.assertLess(fewer(), most())

    def test_files(self) -> None:
        """The sockets of several dialects leave half of the files to connections."""
        self.successResultOf(self.stop())
        self.patch(resource, "getrlimit", lambda _limit: (64, 64))
        for number in range(20):
            self.memory_store.put(Container(f"more-{number}"))
        dialects = ("lxd", "lxd6", "incus")
        service = DevLXDService(
            self.reactor,
            self.store,
            {dialect: f"each:{self.home}/{dialect}" for dialect in dialects},
            self.identifier,
        )
        service.startService()
        self.reactor.run_until_idle()
        sockets = [listener.sockets for listener in service.listeners()]
        self.assertEqual(sockets, [10, 10, 10])
        self.assertEqual({one.missing for one in service.listeners()}, {12})
        self.successResultOf(service.stopService())


class EachHandoverTests(EachTestCase):
    """A restart, over which sockets and connections are handed over."""

    def test_connections(self) -> None:
        """Connections and streams continue."""
        asking, listening = self.connect(), self.connect()
        self.get(asking)
        self.get(listening, EVENTS)
        self.restart(lambda: self.put("1"))
        self.assertTrue(self.get(asking).endswith(b"1"))
        self.assertIn(b'"value":"1"', listening.read())

    def test_new_clients(self) -> None:
        """A guest that connects while there is no devlxd is served by the next one."""
        clients: list[Client] = []
        self.restart(lambda: clients.append(self.connect()))
        self.assertTrue(self.get(clients[0]).endswith(b"0"))
        self.assertEqual(self.listener.listener.sockets, 2)

    def test_accepted(self) -> None:
        """So is one whose connection was accepted just before."""
        client = self.connect()
        client.socket.send(b"GET /1.0/config/user.a HTTP/1.1\r\nHost: x\r\n\r\n")
        self.service._registry.take_turn("c1", lambda: None)
        self.restart()
        self.assertTrue(client.read().endswith(b"0"))

    def test_no_handover(self) -> None:
        """Without the sockets of the last process there are new ones."""
        for connection in self.hand_over():
            os.close(connection.descriptor)
        self.assertRaises(ConnectionRefusedError, self.connect)
        self.start()
        self.reactor.run_until_idle()
        self.assertTrue(self.get(self.connect()).endswith(b"0"))

    def test_others(self) -> None:
        """What is of another place, or malformed, is given back."""
        listener = self.listener
        place = {"listener": f"each:{self.home}/each", "dialect": "lxd"}
        others = [
            HandedOver(-1, {"listener": "each:/other", "dialect": "lxd"}),
            HandedOver(-1, {**place, "socket": "c1"}),
            HandedOver(-1, {**place, "version": 0}),
        ]
        self.assertEqual(listener.adopt(others), others)


class PeerTests(EachTestCase):
    """Two containers."""

    def test_two(self) -> None:
        """Each container has its own socket, and only that."""
        self.peers = MemoryPeerSource(OTHER)
        self.start_again()
        self.assertTrue(self.get(self.connect("c2")).endswith(b"2"))
        self.assertTrue(self.get(self.connect("c1")).startswith(b"HTTP/1.1 500 "))
        self.assertEqual(self.memory_store.get("c1"), C1)
