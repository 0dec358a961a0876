"""Tests of the program in a guest: for trial here, and for pytest below."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import Unavailable
from devlxd.testing import DevLXDMixin, FakeDevLXD
from examples.guest_program import run


class GreetingTests(DevLXDMixin, SynchronousTestCase):
    """The program greets."""

    def setUp(self) -> None:
        """Start the program, until the test ends."""
        super().setUp()
        self.greetings: list[str] = []
        guest = self.devlxd.guest("c1")
        self.running = Deferred.fromCoroutine(run(guest, self.greetings.append))
        self.running.addErrback(lambda _: None)
        self.addCleanup(self.running.cancel)

    def test_change(self) -> None:
        """It greets with each new greeting, and says that it is ready."""
        self.assertEqual(self.devlxd.state_of("c1"), "Ready")
        self.devlxd.set_config("c1", "user.greeting", "good morning")
        self.devlxd.set_config("c1", "user.other", "1")
        self.assertEqual(self.greetings, ["hello", "good morning"])

    def test_restart(self) -> None:
        """It misses no greeting over a restart of the server."""
        self.devlxd.restart()
        self.devlxd.set_config("c1", "user.greeting", "good evening")
        self.devlxd.clock.advance(1)
        self.assertEqual(self.greetings, ["hello", "good evening"])


def test_not_ready(devlxd: FakeDevLXD) -> None:
    """It is not ready if it cannot greet; ``devlxd`` is the fixture for pytest."""
    devlxd.fail_next(503)
    running = Deferred.fromCoroutine(run(devlxd.guest("c1"), print))
    failures: list[object] = []
    running.addErrback(lambda failure: failures.append(failure.type))
    assert failures == [Unavailable]
    assert devlxd.state_of("c1") == "Started"
