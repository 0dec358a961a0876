"""Tests of `devlxd.admin.records`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.records import Record, Records, refusals_by_text
from devlxd.containers.memory_store import MemoryStore
from devlxd.model import Container, Refusal
from devlxd.testing.contracts import ServiceObserverContract

C1 = Container("c1")


class RecordsContractTests(ServiceObserverContract, SynchronousTestCase):
    """`Records` as an observer."""

    def make_observer(self) -> Records:
        """See `ServiceObserverContract.make_observer`."""
        return Records(MemoryStore())


class RecordsTests(SynchronousTestCase):
    """`Records`."""

    def setUp(self) -> None:
        self.store = MemoryStore([C1])
        self.now = 5
        self.records = Records(self.store, lambda: self.now)

    def test_asked(self) -> None:
        """The time of the last question is remembered."""
        self.assertIsNone(self.records.of("c1").last_question)
        for self.now in (7, 9):
            self.records.asked("c1", "/1.0", 200)
            self.assertEqual(self.records.of("c1").last_question, self.now)

    def test_refused(self) -> None:
        """Refusals are counted by their kinds."""
        for _ in range(2):
            self.records.refused("c1", Refusal.SWITCHED_OFF, "no")
        self.records.refused("c1", Refusal.NOT_PERMITTED, "no")
        self.records.refused(None, Refusal.NOT_IN_CONTAINER, "no")
        self.assertEqual(
            refusals_by_text(self.records.of("c1").refusals),
            {"switched off": 2, "user not permitted": 1},
        )
        self.assertEqual(
            refusals_by_text(self.records.unidentified), {"not in a container": 1}
        )

    def test_removed(self) -> None:
        """A container that is removed is forgotten, and not remembered again."""
        self.records.asked("c1", "/1.0", 200)
        self.store.remove("c1")
        self.records.changed("c1", C1, None)
        self.records.asked("c1", "/1.0", 200)
        self.records.refused("c1", Refusal.NOT_IN_CONTAINER, "gone")
        self.assertEqual(self.records.of("c1"), Record())
        self.assertEqual(self.records.unidentified, {})

    def test_changed(self) -> None:
        """A change of a container changes nothing."""
        self.records.asked("c1", "/1.0", 200)
        self.records.changed("c1", C1, C1)
        self.assertEqual(self.records.of("c1").last_question, 5)
