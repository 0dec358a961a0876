"""Tests of `devlxd.admin.operator_observer`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.event_feed import EventFeed
from devlxd.admin.event_reporter import EventReporter
from devlxd.admin.metrics import BUCKETS, MAX_TIMES, RequestCounter
from devlxd.admin.operator_observer import OperatorObserver
from devlxd.admin.records import Records
from devlxd.containers.memory_store import MemoryStore
from devlxd.model import Caller, Container, Refusal
from devlxd.testing.contracts import ServiceObserverContract
from tests.admin.operators import count


class Auditor:
    """A follower of the feed that follows questions, and keeps the lines."""

    has_questions = True

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def receive(self, line: bytes) -> None:
        """See `Follower.receive`."""
        self.lines.append(line)

    def end(self) -> None:
        """See `Follower.end`."""


class OperatorObserverTests(ServiceObserverContract, SynchronousTestCase):
    """`OperatorObserver`."""

    def make_observer(self) -> OperatorObserver:
        """See `ServiceObserverContract.make_observer`."""
        self.now = 5
        self.feed = EventFeed(Clock(), lambda: self.now)
        self.records = Records(MemoryStore([Container("c1")]), lambda: self.now)
        self.counter = RequestCounter()
        reporter = EventReporter(self.feed)
        return OperatorObserver(self.records, reporter, self.counter, self.feed)

    def ask(self, container: str | None, path: bytes = b"/1.0") -> None:
        """Notify the observer of a response; ``None``: to a refused caller."""
        caller = None if container is None else Caller(container, 0)
        observer = self.observer
        assert isinstance(observer, OperatorObserver)
        observer.answered("lxd", 200, 0.001, caller, path)

    def test_asked(self) -> None:
        """The time of each question is remembered: of the first one, and of others."""
        for self.now in (7, 9):
            self.ask("c1")
            self.assertEqual(self.records.of("c1").last_question, self.now)

    def test_unknown(self) -> None:
        """A container that does not exist is not remembered."""
        self.ask("c2")
        self.assertEqual(self.records.records, {})

    def test_followed(self) -> None:
        """While an operator follows questions, each is reported, and remembered."""
        self.ask("c1")
        auditor = Auditor()
        self.feed.add(auditor)
        self.now = 8
        self.ask("c1", b"/1.0/config")
        self.assertEqual(len(auditor.lines), 1)
        self.assertIn(b'"/1.0/config"', auditor.lines[0])
        self.assertEqual(self.records.of("c1").last_question, 8)

    def test_counted(self) -> None:
        """Responses and refusals are counted."""
        self.ask("c1")
        self.ask(None)
        self.observer.refused("c1", Refusal.SWITCHED_OFF, "no")
        self.assertEqual(self.counter.requests, {("lxd", 200): 2})
        self.assertEqual(self.counter.refusals, {Refusal.SWITCHED_OFF: 1})
        self.assertEqual(self.records.of("c1").refusals, {Refusal.SWITCHED_OFF: 1})

    def test_times(self) -> None:
        """Each response is in the bucket of the first bound that it does not exceed."""
        counter = RequestCounter()
        for seconds in (0.0, BUCKETS[0], BUCKETS[1], 1e6):
            count(counter, "toy", 200, seconds)
        self.assertEqual(sum(counter.buckets), 0)
        counter.sort_times()
        self.assertEqual(counter.buckets[:2], [2, 1])
        self.assertEqual(counter.buckets[-1], 1)

    def test_bounded(self) -> None:
        """Times that were not sorted into buckets yet do not fill the memory."""
        for _ in range(3 * MAX_TIMES + 1):
            self.ask("c1")
        self.assertEqual(len(self.counter.times), 1)
        self.counter.sort_times()
        self.assertEqual(sum(self.counter.buckets), 3 * MAX_TIMES + 1)
        self.assertAlmostEqual(self.counter.seconds, 0.001 * (3 * MAX_TIMES + 1))
