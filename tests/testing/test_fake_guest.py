"""Tests of `FakeGuest`."""

from __future__ import annotations

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from devlxd import Container, DevLXDService, MemoryStore
from devlxd.client import Event, Forbidden, Unavailable
from devlxd.testing import FakeGuest, MemoryDevLXDReactor, MemoryEndpoint


class FakeGuestTests(SynchronousTestCase):
    """An agent with a `DevLXDService`, and its guest."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.store = MemoryStore([Container("c1", {"user.a": "1"})])
        self.endpoint = MemoryEndpoint()
        listen = {"lxd": MemoryEndpoint(), "lxd6": self.endpoint}
        self.agent = MultiService()
        self.service = DevLXDService(self.reactor, self.store, listen=listen)
        self.service.setServiceParent(self.agent)

    def start(self) -> None:
        """Start the agent until the test ends."""
        self.agent.privilegedStartService()
        self.agent.startService()
        self.addCleanup(self.stop)
        self.reactor.advance(0)

    def stop(self) -> None:
        """Stop the agent."""
        stopped = self.agent.stopService()
        self.reactor.advance(3)
        self.successResultOf(stopped)

    def test_questions(self) -> None:
        """The guest reads what the agent has set, in the dialect of its choice."""
        self.start()
        guest = FakeGuest(self.agent, "c1")
        self.assertEqual(self.successResultOf(guest.get("user.a")), "1")
        self.assertEqual(self.successResultOf(guest.info())["dialect"], "lxd")
        other = FakeGuest(self.service, "c1", "lxd6")
        self.assertEqual(self.successResultOf(other.info())["dialect"], "lxd6")

    def test_ready(self) -> None:
        """The agent learns that the guest is ready."""
        self.start()
        self.successResultOf(FakeGuest(self.agent, "c1", "lxd6").ready())
        self.assertEqual(self.service.states.state_of("c1").value, "Ready")

    def test_events(self) -> None:
        """The guest hears of what the agent changes."""
        self.start()
        events = FakeGuest(self.agent, "c1").events()

        async def ask() -> Event:
            return await events.__anext__()

        waiting = Deferred.fromCoroutine(ask())
        self.store.set_config("c1", "user.a", "2")
        self.reactor.advance(0)
        self.assertEqual(self.successResultOf(waiting).metadata["value"], "2")

    def test_refused(self) -> None:
        """Users, containers and switches count as they do for real guests."""
        self.start()
        user = FakeGuest(self.agent, "c1", uid=1000)
        self.failureResultOf(user.get("user.a"), Forbidden)
        nobody = FakeGuest(self.agent, "c2")
        self.failureResultOf(nobody.get("user.a"), Unavailable)
        self.store.set_config("c1", "security.devlxd", "false")
        self.failureResultOf(FakeGuest(self.agent, "c1").info(), Forbidden)

    def test_stopped(self) -> None:
        """An agent that does not run is unavailable."""
        guest = FakeGuest(self.agent, "c1")
        self.failureResultOf(guest.get("user.a"), Unavailable)
        self.start()
        self.assertEqual(self.successResultOf(guest.get("user.a")), "1")

    def test_cannot_listen(self) -> None:
        """A test can let the agent fail to listen."""
        error = CannotListenError("memory", 0, OSError("no"))
        listen = {"lxd": MemoryEndpoint(error)}
        service = DevLXDService(self.reactor, self.store, listen=listen)
        with self.assertRaises(CannotListenError):
            service.privilegedStartService()

    def test_wrong_services(self) -> None:
        """A service without guests, or without the dialect, is refused."""
        with self.assertRaises(ValueError):
            FakeGuest(MultiService(), "c1")
        with self.assertRaises(ValueError) as caught:
            FakeGuest(self.agent, "c1", "incus")
        self.assertIn("only lxd, lxd6", str(caught.exception))
