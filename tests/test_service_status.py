"""Tests of `devlxd.service_status`: what a service says of itself."""

from __future__ import annotations

import os
import tempfile

from twisted.internet.defer import fail
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.containers.memory_store import MemoryStore
from devlxd.events.journal import SQLiteJournal
from devlxd.interfaces import IExplainer, IGuestService, IJournal
from devlxd.model import Caller, Container, Explanation, Listener
from devlxd.service import DevLXDService
from devlxd.testing import (
    GUEST,
    GuestConnection,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
)


@implementer(IExplainer)
class ExplainingIdentifier(MemoryIdentifier):
    """An identifier that explains itself."""

    def explain(self, pid: int) -> Explanation:
        """See `IExplainer.explain`."""
        return Explanation(pid, (), "c1")


class ServiceStatusTests(SynchronousTestCase):
    """A service, as its operator sees it."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)
        self.callers = {GUEST.pid: Caller("c1", uid=0)}
        self.service = self.make_service(MemoryIdentifier(self.callers))

    def make_service(
        self, identifier: MemoryIdentifier, journal: IJournal | None = None
    ) -> DevLXDService:
        """Return a new service of two dialects, which is not started."""
        listen = {
            "lxd": f"{self.directory}/lxd.sock",
            "apollo": f"{self.directory}/apollo.sock",
        }
        return DevLXDService(
            self.reactor,
            MemoryStore([Container("c1"), Container("c2")]),
            listen,
            identifier,
            MemoryPeerSource(),
            journal=journal,
        )

    def start(self) -> None:
        """Start the service."""
        self.service.privilegedStartService()
        self.service.startService()

    def connect(self, dialect: int = 0) -> GuestConnection:
        """Connect to one of the endpoints."""
        return GuestConnection(self.reactor.unixServers[dialect][1])

    def check_listeners(self, is_listening: bool) -> None:
        """Check that the service listens on both endpoints, or on none."""
        self.assertEqual(
            self.service.listeners(),
            [
                Listener("lxd", f"{self.directory}/lxd.sock", is_listening),
                Listener("apollo", f"{self.directory}/apollo.sock", is_listening),
            ],
        )

    def test_interface(self) -> None:
        """A service provides `IGuestService`."""
        self.assertTrue(verifyObject(IGuestService, self.service))

    def test_listeners(self) -> None:
        """The endpoints are listed before, while and after the service listens."""
        self.check_listeners(False)
        self.start()
        self.check_listeners(True)
        self.successResultOf(self.service.stopService())
        self.check_listeners(False)

    def test_connections(self) -> None:
        """Connections are counted by container, those of all dialects together."""
        self.start()
        self.assertEqual(self.service.connections(), {})
        guests = [self.connect(0), self.connect(1)]
        self.callers[GUEST.pid] = Caller("c2", uid=7)
        self.connect()
        self.callers.clear()
        self.connect()
        self.assertEqual(self.service.connections(), {"c1": 2, "c2": 1, None: 1})
        self.assertEqual(
            sorted((one.container, one.uid) for one in self.service.callers()),
            [("c1", 0), ("c1", 0), ("c2", 7)],
        )
        for guest in guests:
            guest.disconnect()
        self.assertEqual(self.service.connections(), {"c2": 1, None: 1})

    def test_subscribers(self) -> None:
        """Subscribers are the connections that receive events."""
        self.start()
        subscriber = self.connect()
        subscriber.get("/1.0/events")
        self.connect().get("/1.0")
        self.assertEqual(self.service.subscribers(), {"c1": 1})
        subscriber.disconnect()
        self.assertEqual(self.service.subscribers(), {})

    def test_journal(self) -> None:
        """The size of the journal is that of its file; in memory it has none."""
        self.assertEqual(self.service.journal_bytes(), 0)
        path = f"{self.directory}/journal"
        journal = SQLiteJournal(path)
        service = self.make_service(MemoryIdentifier({}), journal)
        self.assertEqual(service.journal_bytes(), 0)
        journal.open(["user."])
        self.assertGreater(service.journal_bytes(), 4096)
        journal.close()
        for name in os.listdir(self.directory):
            os.unlink(f"{self.directory}/{name}")

    def test_explain(self) -> None:
        """The identifier explains how a process is identified."""
        service = self.make_service(ExplainingIdentifier(self.callers))
        explanation = service.explain(5)
        self.assertEqual((explanation.pid, explanation.container), (5, "c1"))

    def test_cannot_explain(self) -> None:
        """An identifier that cannot explain anything is no error."""
        explanation = self.service.explain(5)
        self.assertEqual((explanation.pid, explanation.container), (5, None))
        self.assertEqual(len(explanation.steps), 1)

    def test_not_bound(self) -> None:
        """An endpoint that failed is listed as not listening."""
        error = CannotListenError("", "/x", OSError())
        for one in self.service:
            if hasattr(one, "endpoint"):
                self.patch(one.endpoint, "listen", lambda _: fail(error))
        self.assertRaises(CannotListenError, self.start)
        self.check_listeners(False)
