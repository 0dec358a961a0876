"""Tests of `devlxd.admin.event_reporter`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.admin.event_feed import EventFeed
from devlxd.admin.event_reporter import MAX_NAMES, MAX_TEXT, EventReporter
from devlxd.interfaces import IReadyObserver
from devlxd.model import Caller, Container, GuestState, Init, Refusal
from devlxd.testing.contracts import ServiceObserverContract
from tests.admin.operators import NOW
from tests.admin.test_event_feed import RecordingFollower


class EventReporterContractTests(ServiceObserverContract, SynchronousTestCase):
    """`EventReporter` as an observer."""

    def make_observer(self) -> EventReporter:
        """See `ServiceObserverContract.make_observer`."""
        return EventReporter(EventFeed(Clock(), lambda: NOW))


class EventReporterTests(SynchronousTestCase):
    """`EventReporter`."""

    def setUp(self) -> None:
        self.feed = EventFeed(Clock(), lambda: NOW)
        self.reporter = EventReporter(self.feed)
        self.follower = RecordingFollower(has_questions=True)
        self.feed.add(self.follower)

    def check(self, *events: dict[str, object]) -> None:
        """Check the events since the last check."""
        self.assertEqual(self.follower.events(), list(events))

    def test_connected(self) -> None:
        """A connection: the user inside the container, and the container's init."""
        self.reporter.connected(Caller("c1", 1000, 1, Init(4711, 5, "boot")))
        self.reporter.connected(Caller("c1", None))
        event = {"event": "connected", "container": "c1"}
        self.check(
            {**event, "uid": 1000, "init": 4711}, {**event, "uid": None, "init": None}
        )

    def test_refused(self) -> None:
        """A refusal: its kind, and what the log has of it."""
        self.reporter.refused(None, Refusal.NOT_IN_CONTAINER, "pid 7 (uid 0)")
        self.reporter.refused("c1", Refusal.SWITCHED_OFF, "x" * (MAX_TEXT + 1))
        self.check(
            {
                "event": "refused",
                "container": None,
                "reason": "not in a container",
                "detail": "pid 7 (uid 0)",
            },
            {
                "event": "refused",
                "container": "c1",
                "reason": "switched off",
                "detail": "x" * MAX_TEXT,
            },
        )

    def test_asked(self) -> None:
        """A question: its path and the status code."""
        self.reporter.asked("c1", "/1.0/" + "x" * MAX_TEXT, 404)
        self.check(
            {
                "event": "asked",
                "container": "c1",
                "path": ("/1.0/" + "x" * MAX_TEXT)[:MAX_TEXT],
                "code": 404,
            }
        )

    def test_changed(self) -> None:
        """A change: the names of what was added, changed and removed, sorted."""
        old = Container("c1", {"a": "1", "b": "1", "c": "1"}, {"d": {"x": "1"}})
        new = Container("c1", {"a": "1", "b": "2", "e": "1"}, {"d": {"x": "2"}})
        self.reporter.changed("c1", None, old)
        self.reporter.changed("c1", old, new)
        self.reporter.changed("c1", new, None)
        self.check(
            {"event": "added", "container": "c1"},
            {
                "event": "changed",
                "container": "c1",
                "config": ["b", "c", "e"],
                "devices": ["d"],
            },
            {"event": "removed", "container": "c1"},
        )

    def test_many_names(self) -> None:
        """At most 100 names are listed."""
        many = {f"k{n:04}": "1" for n in range(MAX_NAMES + 1)}
        self.reporter.changed("c1", Container("c1"), Container("c1", many))
        (event,) = self.follower.events()
        self.assertEqual(event["config"], sorted(many)[:MAX_NAMES])

    def test_states(self) -> None:
        """A guest state, as `IReadyObserver` notifies of it; lost events."""
        verifyObject(IReadyObserver, self.reporter)
        self.reporter.state_changed("c1", GuestState.READY)
        self.reporter.state_changed("c1", GuestState.STARTED)
        self.reporter.lost("c1")
        events = [event["event"] for event in self.follower.events()]
        self.assertEqual(events, ["ready", "started", "lost"])

    def test_fields(self) -> None:
        """With several directories each event has its directory."""
        reporter = EventReporter(self.feed)
        reporter.fields = {"directory": "/c"}
        reporter.lost("c1")
        reporter.asked("c1", "/1.0", 200)
        reporter.changed("c1", None, Container("c1"))
        self.assertEqual(
            [event["directory"] for event in self.follower.events()], ["/c"] * 3
        )

    def test_no_followers(self) -> None:
        """Without followers nothing is compared or sent."""
        self.feed.remove(self.follower)
        self.reporter.changed("c1", Container("c1"), Container("c1"))
        self.reporter.connected(Caller("c1", 0))
        self.reporter.refused("c1", Refusal.SWITCHED_OFF, "no")
        self.reporter.asked("c1", "/1.0", 200)
        self.check()
