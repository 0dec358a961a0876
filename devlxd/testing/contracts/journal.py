# -*- test-case-name: tests.events.test_journal -*-
"""The contract of `IJournal`."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from zope.interface.verify import verifyObject

from devlxd.interfaces import IJournal, JournalError
from devlxd.model import Container, Event
from devlxd.testing.contracts.base import ContractBase

#: The namespaces that the journals of the suite are opened with.
NAMESPACES = ("user.",)

#: The types of events that `JournalContract.since` requests.
TYPES = ("config", "device")

#: Two containers, and the number of an incarnation of each.
C1 = Container(
    "c1",
    {"user.a": "1", "volatile.uuid": "u", "limits.cpu": "2"},
    {"eth0": {"type": "nic"}},
    id="i",
    origin="o",
)
C2 = Container("c2")
ONE, TWO = 2**62 + 1, 5

#: The snapshot of ``C1`` that a journal records: its config has only the keys in
#: ``NAMESPACES``, and ``volatile.uuid``.
RECORDED = evolve(C1, config={"user.a": "1", "volatile.uuid": "u"})


def make_event(timestamp: int, name: str = "c1", kind: str = "config") -> Event:
    """Return an event whose value is its timestamp."""
    return Event(name, kind, timestamp, {"value": str(timestamp)})


class JournalContract(ContractBase):
    """Tests of a journal.

    Override `make_journal`.

    :ivar journal: a new journal for each test, open.
    """

    journal: IJournal

    #: The minimum number of small events of one container that the journal keeps.
    #: Subclasses may override it.
    kept = 1

    def make_journal(self) -> IJournal:
        """Hook: return a new journal that is not open."""
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Opens the journal."""
        super().setUp()
        self.journal = self.make_journal()
        self.journal.open(NAMESPACES)
        self.addCleanup(self.journal.close)

    def since(
        self, timestamp: int, incarnation: int = ONE
    ) -> tuple[int | None, Sequence[Event]]:
        """Call `IJournal.since` until all events after a timestamp are returned."""
        found: list[Event] = []
        is_all = False
        while not is_all:
            complete_since, events, is_all = self.journal.since(
                incarnation, timestamp, TYPES, 10**6
            )
            found += events
            timestamp = found[-1].timestamp if found else 0
        return complete_since, found

    def test_interface(self) -> None:
        """The journal provides `IJournal`."""
        self.assertTrue(verifyObject(IJournal, self.journal))

    def test_size(self) -> None:
        """The size of the files never shrinks while events are added; 0 for none."""
        before = self.journal.size()
        self.journal.record(ONE, C1, 1, 1, [])
        self.assertGreaterEqual(self.journal.size(), before)
        self.journal.close()
        self.assertGreaterEqual(self.journal.size(), 0)

    def test_unknown(self) -> None:
        """An empty journal has no incarnations and no events."""
        self.assertIsNone(self.journal.last(ONE))
        self.assertEqual(self.journal.latest(), 0)
        self.assertEqual(self.since(0), (None, []))
        self.assertEqual(self.journal.names(), {})
        self.assertEqual(list(self.journal.incarnations()), [])
        self.journal.remove(ONE)

    def test_last(self) -> None:
        """The last snapshot is kept, without config keys of other namespaces."""
        self.journal.record(ONE, C1, 5, 5, [])
        self.assertEqual(self.journal.last(ONE), (RECORDED, 5))
        changed = evolve(C1, config={})
        self.journal.record(ONE, changed, 5, 7, [make_event(6), make_event(7)])
        self.assertEqual(self.journal.last(ONE), (changed, 7))
        self.assertEqual(self.journal.names(), {"c1": ONE})
        self.assertEqual(self.journal.latest(), 7)

    def test_prepared(self) -> None:
        """A change that was prepared is recorded like any other."""
        large = evolve(
            RECORDED,
            config={f"user.{n}": str(n) for n in range(10_000)},
            devices={f"d{n}": {"type": "nic"} for n in range(10_000)},
        )
        events = [make_event(6), make_event(7)]
        for _ in self.journal.prepare(large, events):
            self.assertIsNone(self.journal.last(ONE))
        self.journal.record(ONE, large, 5, 7, events)
        self.assertEqual(self.journal.last(ONE), (large, 7))
        self.assertEqual(self.since(0), (5, events))

    def test_prepared_only(self) -> None:
        """A change that was prepared but not recorded has no effect."""
        for _ in self.journal.prepare(C1, [make_event(6)]):
            pass
        events = [make_event(7)]
        self.journal.record(ONE, C1, 5, 7, events)
        self.assertEqual(self.since(0), (5, events))

    def test_since(self) -> None:
        """Events after a timestamp are returned: at least one, up to a total size."""
        events = [make_event(n) for n in (6, 7, 8)]
        self.journal.record(ONE, C1, 5, 5, [])
        self.journal.record(ONE, C1, 5, 8, events)
        self.journal.record(TWO, C2, 6, 6, [make_event(6, "c2")])
        for since, expected in ((0, [6, 7, 8]), (6, [7, 8]), (8, []), (9, [])):
            complete_since, found = self.since(since)
            self.assertEqual(complete_since, 5)
            self.assertEqual(list(found), [make_event(n) for n in expected])
        size = events[0].size
        for most, number in ((0, 1), (1, 1), (2, 2), (3, 3), (9, 3)):
            _, found, is_all = self.journal.since(ONE, 0, TYPES, most * size)
            self.assertEqual((len(found), is_all), (number, number == 3))

    def test_metadata(self) -> None:
        """Metadata are returned unchanged: any text, mappings, the order of keys."""
        values = {"key": "user.a", "old_value": "\u20ac\U0001f4a1", "value": '"\n\0'}
        device = {"name": "e", "action": "added", "config": {"type": "nic", "a": ""}}
        events = [Event("c1", "config", 6, values), Event("c1", "device", 7, device)]
        self.journal.record(ONE, C1, 5, 7, events)
        found = list(self.since(0)[1])
        self.assertEqual(found, events)
        self.assertEqual(
            [list(event.metadata) for event in found], [list(values), list(device)]
        )

    def test_types(self) -> None:
        """Events of the given types are returned, in the order of timestamps."""
        kinds = ["config", "device", "device", "config", "other"]
        events = [make_event(n, kind=kind) for n, kind in enumerate(kinds)]
        self.journal.record(ONE, C1, 0, 4, events)
        for types, expected in (
            (["device"], [1, 2]),
            (["device", "config"], [0, 1, 2, 3]),
            (["none", "other"], [4]),
            ([], []),
        ):
            _, found, _ = self.journal.since(ONE, -1, types, 10**6)
            self.assertEqual([e.timestamp for e in found], expected)

    def test_incarnations(self) -> None:
        """Two incarnations of one name do not share snapshots or events."""
        self.journal.record(ONE, C1, 1, 3, [make_event(3)])
        self.journal.record(TWO, C1, 2, 2, [])
        self.assertEqual(self.since(0, TWO), (2, []))
        self.assertEqual(self.journal.names(), {"c1": TWO})
        self.assertEqual(set(self.journal.incarnations()), {ONE, TWO})
        self.assertEqual(self.journal.latest(), 3)
        self.journal.remove(TWO)
        self.assertEqual(self.since(0), (1, [make_event(3)]))

    def test_many_events(self) -> None:
        """The newest events are kept, and the time after which none is missing."""
        count = 3 * self.kept + 1
        self.journal.record(ONE, C1, 1, 1, [])
        for n in range(2, count + 1):
            self.journal.record(ONE, C1, 1, n, [make_event(n)])
        complete_since, events = self.since(0)
        self.assertGreaterEqual(len(events), self.kept)
        self.assertEqual(events[0].timestamp, (complete_since or 0) + 1)
        self.assertEqual(events[-1], make_event(count))

    def test_huge_change(self) -> None:
        """The newest events of a huge change are kept."""
        self.journal.record(ONE, C1, 1, 2, [make_event(2)])
        changed = [make_event(n) for n in range(3, 5 * self.kept + 3)]
        self.journal.record(ONE, C1, 2, changed[-1].timestamp, changed)
        complete_since, events = self.since(0)
        self.assertGreaterEqual(len(events), self.kept)
        self.assertEqual(events[0].timestamp, (complete_since or 0) + 1)
        self.assertEqual(events[-1], changed[-1])

    def test_remove(self) -> None:
        """An incarnation that was removed is unknown; others are not affected."""
        self.journal.record(ONE, C1, 1, 1, [make_event(1)])
        self.journal.record(TWO, C2, 1, 1, [make_event(1, "c2")])
        self.journal.remove(ONE)
        self.assertIsNone(self.journal.last(ONE))
        self.assertEqual(self.since(0), (None, []))
        self.journal.record(ONE, C1, 7, 7, [])
        self.assertEqual(self.since(0), (7, []))
        self.assertEqual(len(self.since(0, TWO)[1]), 1)

    def test_both_or_nothing(self) -> None:
        """A change with the timestamp of a recorded event is refused as a whole."""
        self.journal.record(ONE, C1, 4, 5, [make_event(5)])
        changed = evolve(C1, config={})
        events = [make_event(6), make_event(5)]
        self.assertRaises(JournalError, self.journal.record, ONE, changed, 5, 6, events)
        self.assertEqual(self.journal.last(ONE), (RECORDED, 5))
        self.assertEqual(self.since(0), (4, [make_event(5)]))

    def test_open_twice(self) -> None:
        """Opening a journal that is open has no effect."""
        self.journal.record(ONE, C1, 4, 5, [make_event(5)])
        self.journal.open(NAMESPACES)
        self.assertEqual(self.since(0), (4, [make_event(5)]))

    def test_closed(self) -> None:
        """A closed journal raises `JournalError`, unless it is closed again."""
        self.journal.close()
        self.journal.close()
        for method in ("names", "incarnations", "latest"):
            self.assertRaises(JournalError, getattr(self.journal, method))
        self.assertRaises(JournalError, self.journal.last, ONE)
        self.assertRaises(JournalError, self.journal.remove, ONE)
        self.assertRaises(JournalError, self.since, 0)
        self.assertRaises(JournalError, self.journal.record, ONE, C1, 0, 0, [])


class DurableJournalContract(JournalContract):
    """Tests of a journal whose data outlive its process.

    Override `make_journal` and `reopen`.
    """

    def reopen(self, namespaces: Sequence[str] = NAMESPACES) -> None:
        """Hook: close `journal`; replace it with an open journal of the same data."""
        raise NotImplementedError

    def test_outlives_its_process(self) -> None:
        """Recorded data are available when the journal is opened again."""
        self.journal.record(ONE, C1, 4, 5, [make_event(5)])
        self.reopen()
        self.assertEqual(self.journal.last(ONE), (RECORDED, 5))
        self.assertEqual(self.since(0), (4, [make_event(5)]))

    def test_incomplete(self) -> None:
        """A journal that is incomplete when it is closed is emptied."""
        for complete, complete_since in ((True, 5), (False, None)):
            self.journal.record(ONE, C1, 5, 5, [])
            self.journal.set_complete(False)
            self.journal.set_complete(complete)
            self.reopen()
            self.assertEqual(self.since(0), (complete_since, []))

    def test_other_namespaces(self) -> None:
        """A journal that is opened with other namespaces is emptied."""
        self.reopen(["user.", "cloud-init."])
        self.journal.record(ONE, C1, 5, 5, [make_event(5)])
        self.reopen(["cloud-init.", "user.", "user."])
        self.assertEqual(self.since(0), (5, [make_event(5)]))
        self.reopen(["user."])
        self.assertEqual(self.since(0), (None, []))
        self.assertIsNone(self.journal.last(ONE))
