"""Tests of `FakeDevLXD`, with the contract of its guests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import (
    DoesNotMatch,
    Event,
    Forbidden,
    IGuest,
    Lost,
    NotFound,
    Unavailable,
)
from devlxd.model import Container
from devlxd.testing import FakeDevLXD, NoAnswer
from devlxd.testing.contracts import GuestContract, GuestEventsContract


class _Hooks:
    """The hooks of the suites. After each test, nothing is left."""

    dialect: str

    def setUp(self) -> None:
        self.devlxd = FakeDevLXD(dialect=self.dialect)
        super().setUp()  # type: ignore[misc] # the test case's

    def tearDown(self) -> None:
        self.devlxd.assert_finished()
        super().tearDown()  # type: ignore[misc] # the test case's

    def make_guest(self) -> IGuest:
        return self.devlxd.guest("c1")

    def put(self, container: Container) -> None:
        self.devlxd.store.put(container)
        self.settle()

    def settle(self) -> None:
        self.devlxd.clock.advance(0)

    def end_connections(self) -> None:
        self.devlxd.restart()

    def advance(self, seconds: float) -> None:
        self.devlxd.clock.advance(seconds)


class LXDTests(_Hooks, GuestEventsContract, SynchronousTestCase):
    dialect = "lxd"


class LXD6Tests(_Hooks, GuestEventsContract, SynchronousTestCase):
    dialect = "lxd6"


class IncusTests(_Hooks, GuestEventsContract, SynchronousTestCase):
    dialect = "incus"


class ApolloTests(_Hooks, GuestContract, SynchronousTestCase):
    dialect = "apollo"


class FakeDevLXDTests(SynchronousTestCase):
    """`FakeDevLXD`."""

    def setUp(self) -> None:
        self.devlxd = FakeDevLXD()
        self.guest = self.devlxd.guest("c1")
        self.devlxd.set_config("c1", "user.a", "1")

    def next(self, events: AsyncGenerator[Event, None]) -> Deferred[Event]:
        """Ask for the next event."""

        async def ask() -> Event:
            return await events.__anext__()

        return Deferred.fromCoroutine(ask())

    def cancel(self, waiting: Deferred[Any]) -> None:
        """End what waits for an event."""
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.devlxd.assert_finished()

    def test_changes(self) -> None:
        """What a test sets and removes is what a guest reads."""
        self.assertEqual(self.successResultOf(self.guest.config()), {"user.a": "1"})
        self.devlxd.set_config("c1", "user.a", None)
        self.assertEqual(self.successResultOf(self.guest.config()), {})
        nic = {"type": "nic"}
        self.devlxd.set_device("c1", "eth0", nic)
        self.assertEqual(self.successResultOf(self.guest.devices()), {"eth0": nic})
        self.devlxd.remove("c1")
        self.failureResultOf(self.guest.get("user.a"), Unavailable)

    def test_containers(self) -> None:
        """Guests of two containers do not meet."""
        self.devlxd.set_config("c2", "user.a", "2")
        other = self.devlxd.guest("c2")
        self.assertEqual(self.successResultOf(other.get("user.a")), "2")
        self.assertEqual(self.successResultOf(self.guest.get("user.a")), "1")

    def test_restart(self) -> None:
        """Over a restart a listener hears of each change once."""
        events = self.guest.events()
        waiting = self.next(events)
        self.devlxd.restart()
        self.devlxd.set_config("c1", "user.a", "2")
        self.assertNoResult(waiting)
        self.devlxd.clock.advance(1)
        self.assertEqual(self.successResultOf(waiting).metadata["value"], "2")
        waiting = self.next(events)
        self.assertNoResult(waiting)
        self.cancel(waiting)

    def test_stop(self) -> None:
        """While the server is stopped, it is unavailable."""
        self.devlxd.stop()
        self.failureResultOf(self.guest.get("user.a"), Unavailable)
        self.devlxd.start()
        self.assertEqual(self.successResultOf(self.guest.get("user.a")), "1")

    def test_fail_next(self) -> None:
        """The next questions fail in the ways that were planned, in order."""
        self.devlxd.fail_next(Forbidden("switched off"), count=2)
        self.devlxd.fail_next(404)
        self.devlxd.fail_next(NoAnswer.CLOSED)
        for error in (Forbidden, Forbidden, NotFound, Unavailable):
            self.failureResultOf(self.guest.get("user.a"), error)
        self.assertEqual(self.successResultOf(self.guest.get("user.a")), "1")

    def test_no_answer(self) -> None:
        """A server that does not answer is unavailable when the time is over."""
        self.devlxd.fail_next(NoAnswer.SILENT)
        waiting = Deferred.fromCoroutine(self.guest.get("user.a"))
        self.devlxd.clock.advance(9)
        self.assertNoResult(waiting)
        self.devlxd.clock.advance(1)
        self.failureResultOf(waiting, Unavailable)

    def test_fail_events(self) -> None:
        """Listening fails as planned, at first and after a restart."""
        self.devlxd.fail_next(Forbidden("switched off"))
        self.failureResultOf(self.next(self.guest.events()), Forbidden)
        waiting = self.next(self.guest.events())
        self.devlxd.restart()
        self.devlxd.fail_next(403)
        self.devlxd.clock.advance(1)
        self.failureResultOf(waiting, Forbidden)

    def test_wrong_failure(self) -> None:
        """A failure that no question can have is refused."""
        with self.assertRaises(TypeError):
            self.devlxd.fail_next("no")  # type: ignore[arg-type] # a mistake

    def test_states(self) -> None:
        """A test knows whether a guest is ready; a reboot takes it back."""
        self.assertEqual(self.devlxd.state_of("c1"), "Started")
        self.successResultOf(self.guest.ready())
        self.assertEqual(self.devlxd.state_of("c1"), "Ready")
        self.devlxd.reboot("c1")
        self.assertEqual(self.devlxd.state_of("c1"), "Started")

    def test_images(self) -> None:
        """A guest downloads the images of a test."""
        fingerprint = self.devlxd.add_image(b"data")
        path = Path(self.mktemp())
        waiting = Deferred.fromCoroutine(self.guest.image(fingerprint, path))
        self.devlxd.clock.advance(1)
        self.failureResultOf(waiting, Forbidden, NotFound, DoesNotMatch)
        self.devlxd.set_config("c1", "security.devlxd.images", "true")
        waiting = Deferred.fromCoroutine(self.guest.image(fingerprint, path))
        self.devlxd.clock.advance(1)
        self.assertEqual(self.successResultOf(waiting), (path,))
        self.assertEqual(path.read_bytes(), b"data")

    def test_lost(self) -> None:
        """A listener that was away for too long is told so."""
        waiting = self.next(self.guest.events(since="2001-01-01T00:00:00Z"))
        self.assertIsInstance(self.successResultOf(waiting), Lost)

    def test_leftovers(self) -> None:
        """Open connections, delayed calls and unused failures are left over."""
        waiting = self.next(self.guest.events())
        self.devlxd.clock.callLater(60, waiting.cancel)
        self.devlxd.fail_next(500)
        with self.assertRaises(AssertionError) as caught:
            self.devlxd.assert_finished()
        for text in ("c1: GET /1.0/events", "delayed call", "unused failure"):
            self.assertIn(text, str(caught.exception))
        self.failureResultOf(self.guest.info(), Unavailable)
        self.devlxd.clock.getDelayedCalls()[-1].cancel()
        self.cancel(waiting)

    def test_clock(self) -> None:
        """Everything has the time of the clock that the test gives."""
        clock = Clock()
        clock.advance(10**9)
        devlxd = FakeDevLXD(clock)
        waiting = self.next(devlxd.guest("c1").events())
        devlxd.set_config("c1", "user.a", "1")
        event = self.successResultOf(waiting)
        self.assertTrue(event.timestamp.startswith("2001-09-09T01:46:40"))

    def test_unknown_dialect(self) -> None:
        """A dialect that does not exist is refused, with those that do."""
        with self.assertRaises(ValueError) as caught:
            FakeDevLXD(dialect="lxd7")
        self.assertIn("lxd, ", str(caught.exception))
