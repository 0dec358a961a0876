"""Tests of `devlxd.client.guest`, with devlxd's own server, in every dialect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import Guest
from devlxd.model import Container
from devlxd.testing.contracts import GuestContract, GuestEventsContract
from tests.client.memory_network import MemoryServer


class _MemoryGuest:
    """The hooks of the suites. After each test, nothing is left."""

    dialect: str

    def setUp(self) -> None:
        self.server = MemoryServer(self.dialect)
        super().setUp()  # type: ignore[misc] # the test case's

    def tearDown(self) -> None:
        """Nothing is left after a test: no connection."""
        self.server.settle()
        assert not self.server.endpoint.open_ends()
        super().tearDown()  # type: ignore[misc] # the test case's

    def make_guest(self) -> Guest:
        return Guest(self.server.clock, self.server.endpoint)

    def put(self, container: Container) -> None:
        self.server.store.put(container)

    def settle(self) -> None:
        self.server.settle()

    def end_connections(self) -> None:
        self.server.end_connections()

    def advance(self, seconds: float) -> None:
        self.server.clock.advance(seconds)


class LXDTests(_MemoryGuest, GuestEventsContract, SynchronousTestCase):
    dialect = "lxd"


class LXD6Tests(_MemoryGuest, GuestEventsContract, SynchronousTestCase):
    dialect = "lxd6"


class IncusTests(_MemoryGuest, GuestEventsContract, SynchronousTestCase):
    dialect = "incus"


class ApolloTests(_MemoryGuest, GuestContract, SynchronousTestCase):
    dialect = "apollo"
