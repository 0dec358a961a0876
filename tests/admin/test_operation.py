"""Tests of `devlxd.admin.operation`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.operation import Guests, Operation
from devlxd.admin.records import Records
from devlxd.containers.memory_store import MemoryStore
from devlxd.interfaces import IDocuments
from devlxd.model import Container, Fault, Listener
from tests.admin.operators import DocumentedStore, MemoryGuestService, Operated


class UnsortedPath(str):
    """A path that must not be compared: thousands of them would take long."""

    def __lt__(self, other: object) -> bool:
        """See `object.__lt__`."""
        raise AssertionError("it is compared")


class OperationTests(SynchronousTestCase):
    """`Operation` and `Guests`."""

    def test_uptime(self) -> None:
        """The uptime is counted from `Operation.begin`."""
        clock = Clock()
        operation = Operation("1", seconds=clock.seconds)
        clock.advance(5)
        self.assertEqual(operation.uptime(), 0)
        operation.begin()
        clock.advance(2)
        self.assertEqual(operation.uptime(), 2)

    def test_no_services(self) -> None:
        """Without guest services devlxd listens nowhere."""
        self.assertEqual(list(Operation("1").failures()), ["devlxd listens nowhere"])

    def test_problems(self) -> None:
        """Problems are listed service by service, warnings are not."""
        operated = Operated(DocumentedStore(), DocumentedStore())
        one, two = operated.stores
        one.found = [Fault("b", 1, "wrong"), Fault("a", 0, "wrong")]
        two.found = [Fault("c", 1, "odd", breaks=False)]
        two.broken = "/d: gone"
        operated.services[1].bound = [Listener("lxd", "/l", False)]
        self.assertEqual(
            list(operated.operation.problems()),
            [
                "/d: gone",
                "a: wrong",
                "b:1: wrong",
                "devlxd does not listen at /l",
            ],
        )

    def test_many_warnings(self) -> None:
        """Warnings are not sorted: each document may have some."""
        operated = Operated(DocumentedStore())
        paths = [UnsortedPath("a"), UnsortedPath("b")]
        warnings = [Fault(path, 1, "odd", breaks=False) for path in paths]
        operated.stores[0].found = [*warnings, Fault("c", 1, "wrong")]
        self.assertEqual(list(operated.operation.problems()), ["c:1: wrong"])

    def test_names(self) -> None:
        """A broken container that was never read counts, a file that is none not."""
        operated = Operated(DocumentedStore([Container("c1"), Container("c2")]))
        (store,), (guests,) = operated.stores, operated.operation.guests
        store.found = [
            Fault("c1", 1, "wrong", "c1"),
            Fault("c3", 1, "wrong", "c3"),
            Fault("c4", 1, "wrong"),
            Fault("c2", 1, "odd", "c2", breaks=False),
        ]
        self.assertEqual(guests.broken(), {"c1", "c3"})
        self.assertEqual(guests.names(), {"c1", "c2", "c3"})

    def test_no_documents(self) -> None:
        """A store without documents has no faults."""
        store = MemoryStore([Container("c1")])
        self.assertFalse(IDocuments.providedBy(store))
        service = MemoryGuestService(store)
        guests = Guests(service, Records(store))
        self.assertEqual((guests.broken(), guests.names()), (set(), {"c1"}))
        self.assertEqual(list(Operation("1", [guests]).problems()), [])

    def test_loading_leaves_nothing(self) -> None:
        """A store that never loads is asked without keeping anything."""
        operated = Operated()
        (store,), (guests,) = operated.stores, operated.operation.guests
        store.mark_loading()
        for _ in range(3):
            self.assertFalse(guests.is_loaded())
        self.assertEqual(store._awaiting_load, {})
