"""Tests of `devlxd.etcd.comparison`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.etcd.comparison import Comparison, doubtful_keys
from devlxd.etcd.messages import KeyRange, RangeAnswer
from devlxd.etcd.replica import Held, Known, Replica
from tests.etcd.test_replica import kv, put, removal


class ComparisonTests(SynchronousTestCase):
    """Whether everything that etcd has has arrived."""

    def setUp(self) -> None:
        held = {b"a": Held.of(kv("a", 5)), b"b": Held.of(kv("b", 6))}
        self.replica = Replica(b"/h1/", Known("17", "t", 10, held, True))
        self.comparison = Comparison(self.replica, KeyRange.of_prefix("/h1/"))

    def test_request(self) -> None:
        """One key that has changed is enough; the number is that of all keys."""
        request = self.comparison.request
        self.assertEqual((request.limit, request.min_mod_revision), (1, 11))
        self.assertTrue(request.keys_only)

    def test_confirmed(self) -> None:
        """The same number of keys, and no change."""
        self.assertTrue(self.comparison.is_confirmed(RangeAnswer("17", 12, (), 2)))

    def test_missing(self) -> None:
        """A missing put shows as a changed key, a missing removal in the number."""
        changed = RangeAnswer("17", 12, (kv("a", 12, created=5),), 2)
        removed = RangeAnswer("17", 12, (), 1)
        for answer in (changed, removed):
            self.assertFalse(self.comparison.is_confirmed(answer))
        self.replica.apply([put("a", 12, created=5)], False)
        self.assertTrue(self.comparison.is_confirmed(changed))

    def test_meanwhile(self) -> None:
        """The number counts as it was in the revision of the answer."""
        for event in (removal("a", 11), put("c", 13), put("d", 14)):
            self.replica.apply([event], False)
        self.assertTrue(self.comparison.is_confirmed(RangeAnswer("17", 12, (), 1)))
        self.assertFalse(self.comparison.is_confirmed(RangeAnswer("17", 12, (), 3)))

    def test_other_history(self) -> None:
        """Another cluster, or an earlier revision, confirms nothing."""
        for answer in (RangeAnswer("18", 12, (), 2), RangeAnswer("17", 9, (), 2)):
            self.assertFalse(self.comparison.is_confirmed(answer))

    def test_closed(self) -> None:
        """Numbers are not recorded any longer than necessary."""
        self.comparison.close()
        self.replica.apply([put("c", 11)], False)
        self.assertIsNone(self.replica.count_at(11))

    def test_doubtful(self) -> None:
        """A list of all keys shows a lost put that a later one hides."""
        self.assertEqual(
            doubtful_keys(self.replica, [kv("a", 5), kv("b", 6)], 10), set()
        )
        listed = [kv("a", 9, created=5), kv("c", 8)]
        self.assertEqual(
            doubtful_keys(self.replica, listed, 10), {(b"a", 9), (b"b", 0), (b"c", 8)}
        )
        self.replica.apply([put("a", 11, created=5), put("b", 12)], False)
        self.assertEqual(doubtful_keys(self.replica, listed, 10), {(b"c", 8)})
