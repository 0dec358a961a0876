"""Tests of what is left of a service that has stopped, or has failed to start."""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.unix import Port
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guest_listener import GuestListener
from devlxd.httpserver.registry import REQUESTS_PER_ITERATION
from devlxd.service import DevLXDService
from devlxd.testing import MemoryIdentifier
from tests.counting_store import CountingStore
from tests.default_limits import limits
from tests.handovers import C1, Client, HandoverTestCase, SocketReactor

EVENTS = "/1.0/events"

#: More connections than are admitted at once, and more than are permitted.
MANY = 2 * REQUESTS_PER_ITERATION


class StoppingTests(HandoverTestCase):
    """A service that is stopped while it is busy."""

    limits = limits(log_lines=1, connections=REQUESTS_PER_ITERATION)

    def setUp(self) -> None:
        super().setUp()
        self.successResultOf(self.stop())
        self.store = CountingStore([C1], loaded=False)
        self.files = self.count_files()
        self.start()

    def count_files(self) -> int:
        """Return how many files this process has open."""
        return len(os.listdir("/proc/self/fd"))

    def left(self) -> list[object]:
        """Return what the reactor, the store and the process still have."""
        assert isinstance(self.store, CountingStore)
        clients = sum(client.socket.fileno() >= 0 for client in self.clients)
        return [
            *self.reactor.getDelayedCalls(),
            *self.reactor.getReaders(),
            *self.reactor.getWriters(),
            *range(self.store.waiting),
            *range(self.count_files() - clients - self.files),
        ]

    def stop_now(self) -> Deferred[list[object]]:
        """Stop the service; return a Deferred with what is left when it has stopped."""
        stopped: Deferred[None] = self.service.stopService()
        return stopped.addCallback(lambda _: self.left())

    def assert_nothing_left(self) -> None:
        """Stop the service, and check what is left when its Deferred fires."""
        left = self.stop_now()
        self.reactor.run_until_idle()
        self.reactor.advance(2)
        self.reactor.run_until_idle()
        self.assertEqual(self.successResultOf(left), [])

    def test_not_loaded(self) -> None:
        """A service whose store was never loaded leaves nothing, nor does it later."""
        self.ask(self.connect(), b"GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assert_nothing_left()
        assert isinstance(self.store, MemoryStore)
        self.store.mark_loaded()
        self.assertEqual(self.left(), [])

    def test_idle(self) -> None:
        """A service without connections leaves nothing, and stops at once."""
        left = self.stop_now()
        self.assertEqual(self.successResultOf(left), [])

    def test_busy(self) -> None:
        """Subscribers, half a request, and connections that wait leave nothing."""
        self.mark_loaded()
        for path in (EVENTS, "/1.0/config"):
            self.assertIn(b"200 OK", self.get(self.connect(), path))
        self.ask(self.connect(), b"GET / HT")
        waiting = [self.connect() for _ in range(MANY)]
        # Accepted, but not all of them admitted.
        self.reactor._serve_ready()
        self.assert_nothing_left()
        self.assertEqual({client.read() for client in waiting}, {b""})
        for client in self.clients:
            client.read()
            self.assertTrue(client.is_closed)

    def test_suppressed_lines(self) -> None:
        """What was not logged of a flood is counted at the stop, not a minute later."""
        self.mark_loaded()
        with capturedLogs() as events:
            for _ in range(MANY):
                self.connect()
            self.reactor.run_until_idle()
            self.assert_nothing_left()
        self.assertTrue([e for e in events if e.get("count", 0) > 1], events)

    def test_changes(self) -> None:
        """Changes that are being recorded when it is stopped leave nothing."""
        self.mark_loaded()
        self.get(self.connect(), EVENTS)
        for number in range(MANY):
            self.put(str(number))
        self.assert_nothing_left()

    def test_clients_that_do_not_read(self) -> None:
        """After two seconds a client that reads nothing is disconnected."""
        self.mark_loaded()
        slow = self.connect()
        requests = b"GET /1.0/config/user.a HTTP/1.1\r\nHost: x\r\n\r\n" * 50
        # Less than a slice: the response is not ended in the middle.
        self.put("x" * 30_000)
        slow.socket.send(requests)
        self.reactor.run_until_idle()
        left = self.stop_now()
        self.reactor.run_until_idle()
        self.assertNoResult(left)
        self.reactor.advance(2)
        self.reactor.run_until_idle()
        self.assertEqual(self.successResultOf(left), [])

    def test_started_again(self) -> None:
        """A service that has stopped can be started again, and again."""
        self.mark_loaded()
        for number in range(3):
            subscriber = self.connect()
            self.assertIn(b"200 OK", self.get(subscriber, EVENTS))
            self.put(f"value {number}")
            self.reactor.run_until_idle()
            self.assertIn(f'"value {number}"'.encode(), subscriber.read())
            self.assertIn(b"200 OK", self.get(self.connect()))
            self.assert_nothing_left()
            self.service.privilegedStartService()
            self.service.startService()

    def test_past_events(self) -> None:
        """The journal is closed and opened again: no change meanwhile is lost."""
        self.mark_loaded()
        self.put("before")
        self.reactor.run_until_idle()
        self.assert_nothing_left()
        self.put("meanwhile")
        self.service.startService()
        since = f"{EVENTS}?since=1970-01-01T00:00:01Z"
        events = self.get(self.connect(), since)
        self.assertLess(events.index(b'"before"'), events.index(b'"meanwhile"'))

    def mark_loaded(self) -> None:
        """Mark the store as loaded."""
        assert isinstance(self.store, MemoryStore)
        self.store.mark_loaded()


class PortReactor(SocketReactor):
    """A reactor in memory that listens on real UNIX sockets."""

    def listenUNIX(
        self,
        address: bytes | str,
        factory: Factory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> Port:
        """See `IReactorUNIX.listenUNIX`."""
        port = Port(os.fsencode(address), factory, backlog, mode, self, wantPID)
        port.startListening()
        return port


class FailingTests(SynchronousTestCase):
    """A service that listens at one socket, and cannot listen at another one."""

    def setUp(self) -> None:
        self.reactor = PortReactor()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = f"{self.directory}/sock"
        self.missing = f"{self.directory}/missing"
        listen = {"lxd": [self.path, f"unix:{self.missing}/sock"]}
        identifier = MemoryIdentifier()
        self.service = DevLXDService(self.reactor, MemoryStore(), listen, identifier)

    def assert_nothing_left(self) -> None:
        """Check that no socket is left, without another iteration of the reactor."""
        self.assertEqual(os.listdir(self.directory), [])
        self.assertEqual(self.reactor.getReaders(), [])

    def test_not_privileged(self) -> None:
        """The file of the socket is removed: twistd ends without the reactor."""
        with self.assertRaisesRegex(CannotListenError, f"{self.missing}/sock"):
            self.service.privilegedStartService()
        self.assert_nothing_left()

    def test_started(self) -> None:
        """So it is for a service that listens when it is started."""
        with self.assertRaisesRegex(CannotListenError, f"{self.missing}/sock"):
            self.service.startService()
        self.assert_nothing_left()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_replaced(self) -> None:
        """The socket of another process that has replaced it meanwhile is kept."""

        def replace(_description: object) -> None:
            os.unlink(self.path)
            with open(self.path, "w"):
                raise CannotListenError(None, self.missing, OSError())

        listener = self.service._listeners[1]
        assert isinstance(listener, GuestListener)
        self.patch(listener.endpoint, "listen", replace)
        self.assertRaises(CannotListenError, self.service.privilegedStartService)
        self.assertEqual(os.listdir(self.directory), ["sock"])

    def test_started_again(self) -> None:
        """After a stop, the service starts when it can listen at both."""
        self.assertRaises(CannotListenError, self.service.privilegedStartService)
        self.successResultOf(self.service.stopService())
        os.mkdir(self.missing)
        self.service.privilegedStartService()
        self.service.startService()
        Client(self.path).socket.close()
        stopped = self.service.stopService()
        self.reactor.run_until_idle()
        self.successResultOf(stopped)
        self.assertEqual(os.listdir(self.directory), ["missing"])
        self.assertEqual(os.listdir(self.missing), [])
