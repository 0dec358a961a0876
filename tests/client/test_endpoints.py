"""Tests of `devlxd.client.endpoints`, and of the paths that a guest tries."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd.client import Guest, Unavailable
from devlxd.client.endpoints import MAX_PATH, QUEUE_PAUSE


class PathTests(SynchronousTestCase):
    """Where a guest connects to."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def refuse(self) -> None:
        """Refuse the last connection."""
        factory = self.reactor.unixClients[-1][1]
        factory.clientConnectionFailed(None, Failure(ConnectError(2)))

    def test_in_turn(self) -> None:
        """Without a path, the sockets of all servers are tried, and named."""
        asking = Deferred.fromCoroutine(Guest(self.reactor).info())
        for _ in range(3):
            self.assertNoResult(asking)
            self.refuse()
        paths = [client[0] for client in self.reactor.unixClients]
        tried = ["/dev/lxd/sock", "/dev/incus/sock", "/dev/apollo/sock"]
        self.assertEqual(paths, tried)
        error = self.failureResultOf(asking, Unavailable).value
        reason = "No such file or directory"
        refusals = ", ".join(f"{path}: {reason}" for path in tried)
        self.assertEqual(str(error), f"no server: {refusals}")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_no_path(self) -> None:
        """What cannot be the path of a socket is said immediately."""
        for path in ("/" + "x" * MAX_PATH, "/a\0b"):
            asking = Deferred.fromCoroutine(Guest(self.reactor, path).info())
            error = self.failureResultOf(asking, Unavailable).value
            self.assertIn("this cannot be the path of a socket", str(error))
        self.assertEqual(self.reactor.unixClients, [])

    def test_timeout(self) -> None:
        """A connection that is not accepted is given up after the timeout."""
        guest = Guest(self.reactor, "/a", timeout=3)
        asking = Deferred.fromCoroutine(guest.info())
        self.reactor.advance(3)
        self.failureResultOf(asking, Unavailable)

    def test_full_queue(self) -> None:
        """A server with a full queue is tried again, as long as the timeout lasts."""
        guest = Guest(self.reactor, "/a", timeout=3)
        asking = Deferred.fromCoroutine(guest.info())
        for number in range(1, 4):
            self.assertEqual(len(self.reactor.unixClients), number)
            factory = self.reactor.unixClients[-1][1]
            factory.clientConnectionFailed(None, Failure(ConnectError()))
            self.assertNoResult(asking)
            self.reactor.advance(QUEUE_PAUSE)
        self.reactor.advance(3)
        self.failureResultOf(asking, Unavailable)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
