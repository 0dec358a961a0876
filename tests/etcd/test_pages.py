"""Tests of lists in pages, and of checks that use them."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.etcd_check import check_keys
from devlxd.etcd.errors import EtcdError, TooLargeError
from devlxd.etcd.messages import KeyRange, KeyValue
from devlxd.etcd.pages import MAX_PAGE, PAGE_SIZE, Pages
from devlxd.testing import MemoryEtcd

PREFIX = "/h1/"


class PagesTests(SynchronousTestCase):
    """Listing in pages."""

    def setUp(self) -> None:
        self.etcd = MemoryEtcd(Clock())
        self.member = self.etcd.member()

    def fill(self, count: int, size: int) -> None:
        """Put keys with values of a size."""
        values = {f"{PREFIX}{n:05}": "x" * size for n in range(count)}
        self.etcd.transaction(values)

    def listed(self, max_size: int = MAX_PAGE) -> list[KeyValue]:
        """Return all keys."""
        pages = Pages(KeyRange.of_prefix(PREFIX), max_size)
        found: list[KeyValue] = []
        while not pages.is_complete:
            waiting = Deferred.fromCoroutine(pages.next(self.member))
            found += self.successResultOf(waiting).kvs
        return found

    def test_small(self) -> None:
        """Pages grow until they have the size that they should have."""
        self.fill(5000, 100)
        self.assertEqual(len(self.listed()), 5000)
        self.assertLess(len(self.member.requests), 12)
        self.assertEqual({one.revision for one in self.member.requests}, {0, 2})

    def test_large(self) -> None:
        """Pages shrink when they would be too large."""
        self.fill(20, PAGE_SIZE)
        self.assertEqual(len(self.listed()), 20)
        self.assertEqual({len(kv.value or b"") for kv in self.listed()}, {PAGE_SIZE})

    def test_too_large(self) -> None:
        """A value that is too large is omitted; the others are there."""
        self.fill(3, 10)
        self.etcd.put(f"{PREFIX}00001", b"x" * MAX_PAGE)
        values = [kv.value for kv in self.listed()]
        self.assertEqual(values, [b"x" * 10, None, b"x" * 10])

    def test_empty(self) -> None:
        """No key is one page without keys."""
        self.assertEqual(self.listed(), [])

    def test_too_large_without_values(self) -> None:
        """What does not fit even without its value is an error."""
        self.fill(1, 10)
        self.patch(self.etcd, "answer", self.refuse)
        pages = Pages(KeyRange.of_prefix(PREFIX), 10)
        waiting = Deferred.fromCoroutine(pages.next(self.member))
        self.failureResultOf(waiting, EtcdError)

    def refuse(self, request: object) -> None:
        """Refuse a request as too large."""
        raise TooLargeError("too large")


class CheckTests(SynchronousTestCase):
    """Checking the documents of etcd without a store."""

    def test_faults(self) -> None:
        """Each fault names its key and line; the first member that answers counts."""
        etcd = MemoryEtcd(Clock())
        away, member = etcd.member("one"), etcd.member("two")
        away.fail("no luck")
        etcd.put(f"{PREFIX}c1", "config: [")
        etcd.put(f"{PREFIX}c2", "conifg: {}\nid: abc\n")
        etcd.put(f"{PREFIX}c3", '{"config": {}, "id": "abc"}')
        etcd.put(f"{PREFIX}-", "config: {}\n")
        checked = check_keys(PREFIX, [away, member])
        self.assertEqual(checked.containers, 2)
        places = [(fault.file, fault.line) for fault in checked.faults]
        self.assertEqual(
            places,
            [
                ("etcd:/h1/-", 0),
                ("etcd:/h1/c1", 1),
                ("etcd:/h1/c2", 1),
                ("etcd:/h1/c2", 2),
                ("etcd:/h1/c3", 1),
            ],
        )

    def test_away(self) -> None:
        """If no member answers, the error says why each does not."""
        etcd = MemoryEtcd(Clock())
        members = [etcd.member("one"), etcd.member("two")]
        for member in members:
            member.fail("no luck")
        with self.assertRaisesRegex(EtcdError, "one: no luck; two: no luck"):
            check_keys(PREFIX, members)
