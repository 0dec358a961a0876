"""Tests of `devlxd.etcd.replica` and `devlxd.etcd.listing`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.etcd.changes import Change
from devlxd.etcd.listing import Listing
from devlxd.etcd.messages import KeyValue, RangeAnswer, WatchEvent
from devlxd.etcd.replica import Held, Known, Replica


def kv(name: str, revision: int, value: str = "v", created: int = 0) -> KeyValue:
    """Return a key below the prefix."""
    key = f"/h1/{name}".encode()
    return KeyValue(key, value.encode(), created or revision, revision)


def put(name: str, revision: int, value: str = "v", created: int = 0) -> WatchEvent:
    """Return the event of a put."""
    return WatchEvent(kv(name, revision, value, created))


def removal(name: str, revision: int) -> WatchEvent:
    """Return the event of a removal."""
    return WatchEvent(KeyValue(f"/h1/{name}".encode(), None, 0, revision), True)


def summary(changes: list[Change]) -> list[tuple[str, str | None]]:
    """Return the names and values of changes."""
    return [
        (
            change.key.decode(),
            None if change.kv is None else (change.kv.value or b"").decode(),
        )
        for change in changes
    ]


class ReplicaTests(SynchronousTestCase):
    """What is new in the events of a watch."""

    def setUp(self) -> None:
        known = Known("17", "t", 10, {b"a": Held.of(kv("a", 5))}, True)
        self.replica = Replica(b"/h1/", known)

    def apply(self, *events: WatchEvent, is_fragment: bool = False) -> list[Change]:
        """Apply a line."""
        return self.replica.apply(events, is_fragment)

    def test_in_order(self) -> None:
        """Each event is one change; the revision is that of the last one."""
        changes = self.apply(put("a", 11, "1", 5), put("b", 12), removal("a", 13))
        self.assertEqual(summary(changes), [("a", "1"), ("b", "v"), ("a", None)])
        self.assertEqual(self.replica.revision, 13)
        self.assertEqual({*self.replica.held}, {b"b"})
        self.assertEqual([change.is_new for change in changes], [False] * 3)
        self.assertEqual(changes[0].origin, "t:5")

    def test_twice(self) -> None:
        """Events that come twice, or late, are dropped."""
        self.apply(put("a", 11, "1", 5), put("b", 12))
        again = self.apply(put("a", 9, "0", 5), put("a", 11, "1", 5), removal("b", 12))
        self.assertEqual(again, [])
        self.assertEqual(self.replica.revision, 12)

    def test_transaction(self) -> None:
        """All keys of a revision are changed, also if they come in two lines."""
        first = self.apply(put("a", 11, "1", 5), is_fragment=True)
        self.assertEqual(self.replica.revision, 10)
        second = self.apply(put("b", 11))
        self.assertEqual(summary(first + second), [("a", "1"), ("b", "v")])
        self.assertEqual(self.replica.revision, 11)

    def test_lost_in_fragment(self) -> None:
        """After a loss within a revision, only the rest of it is new."""
        self.apply(
            put("a", 11, "1", 5), put("b", 12), removal("b", 13), is_fragment=True
        )
        again = self.apply(
            put("a", 11, "1", 5), put("b", 12), removal("b", 13), put("c", 13)
        )
        self.assertEqual(summary(again), [("c", "v")])

    def test_removal_lost(self) -> None:
        """A key that was created again is new, although its removal is missing."""
        (change,) = self.apply(put("a", 12, "1"))
        self.assertTrue(change.is_new)
        self.assertEqual(change.origin, "t:12")

    def test_nothing(self) -> None:
        """A removal of what is not there, and keys elsewhere, change nothing."""
        elsewhere = WatchEvent(KeyValue(b"/h2/a", b"", 12, 12))
        self.assertEqual(self.apply(removal("x", 11), elsewhere), [])
        self.assertEqual(self.replica.revision, 11)


class ListingTests(SynchronousTestCase):
    """What a list says about what is known."""

    def setUp(self) -> None:
        held = {b"a": Held.of(kv("a", 5)), b"b": Held.of(kv("b", 6))}
        self.replica = Replica(b"/h1/", Known("17", "t", 10, held, True))

    def listing(
        self, *kvs: KeyValue, revision: int = 10, cluster_id: str = "17"
    ) -> Listing:
        """Return a list that is complete."""
        listing = Listing(self.replica, RangeAnswer(cluster_id, revision))
        listing.add(kvs)
        return listing

    def other(self, *kvs: KeyValue, revision: int = 10, cluster_id: str = "17") -> str:
        """Return why a list is from another history."""
        listing = self.listing(*kvs, revision=revision, cluster_id=cluster_id)
        return listing.other_history(is_incomplete=False)

    def test_same_history(self) -> None:
        """Nothing has changed, or only behind the revision that is known."""
        self.assertEqual(self.other(kv("a", 5), kv("b", 6)), "")
        self.assertEqual(self.other(kv("a", 11, "x", 5), revision=12), "")

    def test_other_history(self) -> None:
        """The ids, the revision, the keys and the values tell."""
        same = kv("a", 5), kv("b", 6)
        self.assertIn("another cluster", self.other(*same, cluster_id="18"))
        self.assertIn("its revision is 9", self.other(*same, revision=9))
        for contradiction in (
            [kv("a", 5)],
            [kv("a", 5), kv("b", 6, "other")],
            [kv("a", 5), kv("b", 7, created=6)],
            [kv("a", 5), kv("b", 6, created=4)],
            [*same, kv("c", 8)],
        ):
            self.assertIn("other keys", self.other(*contradiction))
        self.assertIn("other keys", self.other(kv("c", 8), revision=99))

    def test_incomplete(self) -> None:
        """If changes were lost, other keys are no other history."""
        listing = self.listing(kv("a", 5), kv("c", 8))
        self.assertEqual(listing.other_history(is_incomplete=True), "")

    def test_take(self) -> None:
        """What differs is changed; what was created again is new."""
        listing = self.listing(kv("b", 12), kv("c", 11), revision=13)
        changes = listing.take(is_same_history=True)
        self.assertEqual(summary(changes), [("a", None), ("b", "v"), ("c", "v")])
        self.assertEqual([change.is_new for change in changes], [False, True, False])
        self.assertEqual(self.replica.revision, 13)
        self.assertEqual({*self.replica.held}, {b"b", b"c"})
        self.assertTrue(self.replica.is_exact)

    def test_take_other_history(self) -> None:
        """In another history the same name is the same container, of other origin."""
        changes = self.listing(kv("a", 5), kv("b", 3)).take(is_same_history=False)
        (change,) = changes
        self.assertFalse(change.is_new)
        self.assertNotEqual(change.origin.partition(":")[0], "t")
        self.assertNotEqual(self.replica.timeline, "t")

    def test_nothing_known(self) -> None:
        """The first list is taken as it is."""
        self.replica = Replica(b"/h1/")
        listing = self.listing(kv("a", 5), revision=7)
        self.assertEqual(listing.other_history(is_incomplete=False), "")
        self.assertEqual(summary(listing.take(True)), [("a", "v")])
