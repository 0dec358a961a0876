"""Tests of `devlxd.admin.service`, with the guest services of production."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.endpoint import AdminEndpoint
from devlxd.admin.operation import Operation
from devlxd.admin.service import AdminService
from devlxd.admin.site import AdminSite
from devlxd.containers.memory_store import MemoryStore
from devlxd.model import Caller, Container
from devlxd.service import DevLXDService
from devlxd.testing import (
    GUEST,
    GuestConnection,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
)
from tests.admin.operators import NOW, NOW_TEXT, Answer, OperatorConnection


class AdminServiceTests(SynchronousTestCase):
    """The operator's socket of a whole devlxd, in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)
        self.path = f"{self.directory}/admin.sock"
        self.operation = Operation("1", now=lambda: NOW, seconds=self.reactor.seconds)
        endpoints = [AdminEndpoint.parse(at) for at in (self.path, "tcp:9")]
        self.admin = AdminService(self.reactor, endpoints, self.operation)
        self.store = MemoryStore([Container("c1")])
        self.callers = {GUEST.pid: Caller("c1", 0)}
        self.service = DevLXDService(
            self.reactor,
            self.store,
            {
                "lxd": f"{self.directory}/lxd.sock",
                "lxd6": f"{self.directory}/lxd6.sock",
            },
            MemoryIdentifier(self.callers),
            MemoryPeerSource(),
            observer=self.admin.observer_for(self.store),
        )
        self.admin.add(self.service)
        for service in (self.admin, self.service):
            service.privilegedStartService()
            service.startService()
        sites: list[Any] = [one[1] for one in self.reactor.unixServers]
        self.site, self.lxd, self.lxd6 = sites

    def operator(self, path: str) -> OperatorConnection:
        """Connect to the operator's socket, and send a request."""
        assert isinstance(self.site, AdminSite)
        connection = OperatorConnection(self.site)
        connection.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return connection

    def test_endpoints(self) -> None:
        """A TCP endpoint is for public resources only."""
        ((port, site, *_),) = self.reactor.tcpServers
        assert isinstance(site, AdminSite)
        self.assertEqual(port, 9)
        answer = OperatorConnection(site, "127.0.0.1").ask("/status")
        self.assertEqual(answer.code, 404)
        self.assertEqual(self.reactor.unixServers[0][3], 0o600)

    def test_container(self) -> None:
        """Connections, subscribers, questions and refusals of guests are shown."""
        GuestConnection(self.lxd).get("/1.0/events")
        GuestConnection(self.lxd).get("/1.0")
        self.callers[GUEST.pid] = Caller("c1", 7)
        GuestConnection(self.lxd6).get("/1.0")
        self.callers.clear()
        GuestConnection(self.lxd6).get("/1.0")
        answer = self.answer("/containers/c1")
        self.assertEqual((answer["connections"], answer["subscribers"]), (3, 1))
        self.assertEqual(answer["last_question"], NOW_TEXT)
        self.assertEqual(answer["refusals"], {"user not permitted": 1})
        status = self.answer("/status")
        self.assertEqual((status["connections"], status["subscribers"]), (4, 1))
        self.assertEqual(status["refused"], {"not in a container": 1})
        self.assertEqual(
            [one["dialect"] for one in status["listeners"]], ["lxd", "lxd6"]
        )
        self.assertTrue(all(one["listening"] for one in status["listeners"]))

    def test_events(self) -> None:
        """What happens is sent to followers."""
        follower = self.operator("/events?asked=1")
        follower.receive()
        guest = GuestConnection(self.lxd6)
        guest.send(
            b"PATCH /1.0 HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n"
            b'{"state":"Ready"}'
        )
        self.store.put(Container("c1", {"user.a": "b"}))
        self.store.remove("c1")
        lines = follower.receive().splitlines()
        events = [json.loads(line)["event"] for line in lines]
        self.assertEqual(
            events, ["connected", "ready", "asked", "changed", "started", "removed"]
        )

    def test_directories(self) -> None:
        """With several services, each event has the directory of its service."""
        observers = [
            self.admin.observer_for(MemoryStore(), directory)
            for directory in ("/a", "/b")
        ]
        follower = self.operator("/events")
        follower.receive()
        for observer in observers:
            observer.lost("c1")
        lines = follower.receive().splitlines()
        self.assertEqual(
            [json.loads(line)["directory"] for line in lines], ["/a", "/b"]
        )

    def test_stop(self) -> None:
        """When it stops, streams end, and it listens no longer."""
        follower = self.operator("/events")
        self.successResultOf(self.admin.stopService())
        self.assertFalse(follower.transport.connected)

    def answer(self, path: str) -> Any:  # noqa: ANN401 # JSON
        """Return what is at a path."""
        return Answer.parse(self.operator(path).receive()).json()
