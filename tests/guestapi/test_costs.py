"""Tests of the memory of connections: of closed ones, and of unread ones.

They use real sockets. Freeing a closed connection must not need the garbage
collector: guests would determine how much it has to collect.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
import weakref
from collections.abc import Callable
from itertools import count
from typing import cast

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.api import GuestAPI
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.guestapi.downloads import Downloads
from devlxd.httpserver.body_message_sink import KEEP_ALIVE
from devlxd.httpserver.site import DevLXDSite
from devlxd.httpserver.websocket import PING_INTERVAL
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.interfaces import ITurns
from devlxd.model import Caller, Container
from devlxd.testing import (
    GUEST,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
)
from tests.default_limits import CLOSE_TIMEOUT, PING_TIMEOUT, REQUEST_TIMEOUT
from tests.guestapi.test_event_streams import (
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PONG,
    TEXT,
    chunks,
    frame,
    frames,
)
from tests.guestapi.test_image_export import path_of
from tests.httpserver.sockets import SocketClient
from tests.httpserver.test_site import GET

C1 = Container(
    "c1",
    {"user.a": "1", "user.big": "x" * 1_000_000, "security.devlxd.images": "true"},
)

EVENTS = b"GET /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n"


def turns_of(site: DevLXDSite) -> ITurns:
    """Return the scheduler of a site."""
    return cast(GuestAPI, site.server.handler).services.turns


class ConnectionsTestCase(SynchronousTestCase):
    """A base class with a complete site; guests are connected by sockets."""

    def setUp(self) -> None:
        self.clock = MemoryDevLXDReactor()
        self.store = MemoryStore([C1])
        self.bus = EventBus(
            self.store, SQLiteJournal(), self.clock, namespaces=["user."]
        )
        self.bus.startService()
        self.addCleanup(self.bus.stopService)
        images = MemoryImageStore()
        fingerprint = images.put(bytes(1_000_000))
        self.image = GET.replace(b"/1.0/config/user.a", path_of(fingerprint).encode())
        self.site = GuestSites(
            self.store,
            MemoryIdentifier({GUEST.pid: Caller("c1", 0, run=1)}),
            MemoryPeerSource(),
            self.clock,
            bus=self.bus,
            downloads=Downloads(images, self.clock),
        ).site(LXD)
        self.site.doStart()
        self.addCleanup(self.site.doStop)

    def connect(self) -> SocketClient:
        """Connect a guest."""
        guest = SocketClient(self.site)
        self.addCleanup(guest.close)
        return guest


class FreedTests(ConnectionsTestCase):
    """Closed connections are freed by reference counting."""

    def check(self, use: Callable[[SocketClient], object]) -> None:
        """Check that a connection is freed after ``use``, which has to close it."""
        use(self.connect())  # creates objects that are created only once
        gc.collect()
        # Objects of other tests are not collected.
        gc.freeze()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            guest = self.connect()
            transport = weakref.ref(guest.transport)
            use(guest)
            self.assertIsNone(guest.transport, "not closed")
            gc.collect()
            self.assertEqual(sorted({str(type(one)) for one in gc.garbage}), [])
        finally:
            gc.set_debug(0)
            gc.enable()
            gc.unfreeze()
            gc.garbage.clear()
        self.assertIsNone(transport())

    def test_request(self) -> None:
        """A connection with ``Connection: close`` is freed."""

        def use(guest: SocketClient) -> None:
            guest.send(GET.replace(b"Host: x", b"Host: x\r\nConnection: close"))

        self.check(use)

    def test_keep_alive(self) -> None:
        """A connection with several requests is freed when the guest disconnects."""

        def use(guest: SocketClient) -> None:
            guest.send(GET + GET.replace(b"user.a", b"user.none") + GET)
            guest.disconnect()

        self.check(use)

    def test_bad_request(self) -> None:
        """The connection of a bad request is freed."""
        self.check(lambda guest: guest.send(b"nonsense\r\n\r\n"))

    def test_half_a_request(self) -> None:
        """The connection of an incomplete request is freed, with either framing."""
        sized, chunked = b"Content-Length: 9", b"Transfer-Encoding: chunked"
        for data in (
            GET[:10],
            GET[:-2],
            GET.replace(b"Host: x", b"Host: x\r\n" + sized) + b"abc",
            GET.replace(b"Host: x", b"Host: x\r\n" + chunked) + b"9\r\nabc",
        ):

            def use(guest: SocketClient, data: bytes = data) -> None:
                guest.send(data)
                guest.disconnect()

            self.check(use)

    def test_out_of_time(self) -> None:
        """A connection without a request is freed after its timeout."""

        def use(guest: SocketClient) -> None:
            self.clock.advance(REQUEST_TIMEOUT)
            guest.serve()

        self.check(use)

    def test_large_response(self) -> None:
        """The connection of a large response is freed, whether it is read or not."""
        big = GET.replace(b"user.a", b"user.big")

        def read(guest: SocketClient) -> None:
            self.assertGreater(len(guest.send(big)), 1_000_000)
            guest.disconnect()

        def disconnect(guest: SocketClient) -> None:
            guest.send_only(big)
            guest.disconnect()

        self.check(read)
        self.check(disconnect)

    def test_long_list(self) -> None:
        """The connection of an incomplete list is freed, whichever side closes it."""
        turns: list[Callable[[], None]] = []
        numbers = count()
        self.patch(turns_of(self.site), "take", lambda _, work: turns.append(work))

        def request_list(guest: SocketClient) -> None:
            turns.clear()
            # A new list each time, as the last one is cached.
            value = str(next(numbers))
            keys = {f"user.{n}": value for n in range(2500)}
            self.store.put(evolve(C1, config=keys))
            guest.send_only(GET.replace(b"/user.a", b""))
            self.assertEqual(len(turns), 1)

        def disconnect(guest: SocketClient) -> None:
            request_list(guest)
            guest.disconnect()
            while turns:
                turns.pop()()
            guest.serve()

        def close(guest: SocketClient) -> None:
            request_list(guest)
            self.site.close_connections()
            guest.serve()

        self.check(disconnect)
        self.check(close)

    def test_image(self) -> None:
        """The connection of a download is freed, whichever side closes it."""

        def disconnect(guest: SocketClient) -> None:
            guest.send_only(self.image)
            guest.disconnect()

        def close(guest: SocketClient) -> None:
            guest.send_only(self.image)
            self.site.close_connections()
            guest.serve()

        self.check(disconnect)
        self.check(close)

    def test_lines(self) -> None:
        """The connection of a stream of lines is freed, whichever side closes it."""

        def disconnect(guest: SocketClient) -> None:
            guest.send(EVENTS)
            self.store.put(evolve(C1, config={"user.a": "2"}))
            self.store.put(C1)
            guest.disconnect()

        def close(guest: SocketClient) -> None:
            guest.send(EVENTS)
            self.site.close_connections()
            guest.serve()

        def ignore_close(guest: SocketClient) -> None:
            guest.send(EVENTS)
            self.store.put(evolve(C1, config={"user.a": "2"}))
            self.store.put(C1)
            guest.serve()
            self.site.close_connections()
            self.clock.advance(CLOSE_TIMEOUT)
            guest.serve()

        for use in (disconnect, close, ignore_close):
            self.check(use)

    def test_websocket(self) -> None:
        """A websocket is freed after a close, an error, or a close by the site."""

        def disconnect(guest: SocketClient) -> None:
            guest.send(HANDSHAKE % b"")
            self.store.put(evolve(C1, config={"user.a": "2"}))
            self.store.put(C1)
            guest.disconnect()

        def close_properly(guest: SocketClient) -> None:
            guest.send(HANDSHAKE % b"")
            guest.send(frame(TEXT, b"x") + frame(CLOSE, b"\x03\xe8"))

        def send_invalid_frames(guest: SocketClient) -> None:
            guest.send(HANDSHAKE % b"")
            guest.send(b"\xff" * 10)

        def receive_an_error(guest: SocketClient) -> None:
            guest.send(HANDSHAKE % b"")
            guest.send(b"\x81\x01x")
            guest.send(frame(CLOSE, b"\x03\xea"))

        def close(guest: SocketClient) -> None:
            guest.send(HANDSHAKE % b"")
            self.site.close_connections()
            guest.send(frame(CLOSE, b"\x03\xe8"))

        def ignore_pings(guest: SocketClient) -> None:
            guest.send(HANDSHAKE % b"")
            for _ in range(PING_TIMEOUT // PING_INTERVAL + 1):
                guest.serve()
                self.clock.advance(PING_INTERVAL)
            guest.serve()

        def answer_pings(guest: SocketClient) -> None:
            guest.send(HANDSHAKE % b"")
            for _ in range(PING_TIMEOUT // PING_INTERVAL + 1):
                self.clock.advance(PING_INTERVAL)
                guest.send(frame(PONG))
            guest.disconnect()

        for use in (
            disconnect,
            close_properly,
            send_invalid_frames,
            receive_an_error,
            close,
            ignore_pings,
            answer_pings,
        ):
            self.check(use)


class UnreadTests(ConnectionsTestCase):
    """The memory that is needed for guests that read nothing."""

    def assert_memory_below(
        self,
        most: int,
        use: Callable[[SocketClient], object],
        cause: Callable[[], object] = lambda: None,
    ) -> None:
        """Check the memory that each of several guests needs.

        :param most: the limit for each guest, in bytes.
        :param use: called with each guest.
        :param cause: called afterwards, to cause data for all guests.
        """
        # The first measurement includes objects that are created only once.
        _, one, many = (self.memory_of(count, use, cause) for count in (1, 1, 11))
        self.assertLess((many - one) / 10, most)

    def memory_of(
        self,
        count: int,
        use: Callable[[SocketClient], object],
        cause: Callable[[], object],
    ) -> int:
        """Return the memory that ``count`` guests need, in bytes."""
        guests = [self.connect() for _ in range(count)]
        gc.collect()
        tracemalloc.start()
        for guest in guests:
            use(guest)
        cause()
        for guest in guests:
            guest.serve()
        memory, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for guest in guests:
            self.assertIsNotNone(guest.transport, "the connection is closed")
            guest.disconnect()
        return memory

    def change(self) -> None:
        """Change the large value, and change it back."""
        config = {**C1.config, "user.big": "y" * 1_000_000}
        self.store.put(evolve(C1, config=config))
        self.store.put(C1)

    def test_lines(self) -> None:
        """An event of 1 MB is buffered in slices for each subscriber."""
        self.assert_memory_below(
            64 * 1024, lambda guest: guest.send(EVENTS), self.change
        )

    def test_websocket(self) -> None:
        """An event of 1 MB is buffered in slices for each websocket."""
        self.assert_memory_below(
            64 * 1024, lambda guest: guest.send(HANDSHAKE % b""), self.change
        )

    def test_response(self) -> None:
        """A response of 1 MB is buffered in slices for each guest."""
        big = GET.replace(b"user.a", b"user.big")
        self.assert_memory_below(64 * 1024, lambda guest: guest.send_only(big))


class SlowReaderTests(ConnectionsTestCase):
    """Guests that read a large event slowly."""

    def setUp(self) -> None:
        super().setUp()
        self.lines, self.websocket = self.connect(), self.connect()
        self.lines.send(EVENTS)
        self.websocket.send(HANDSHAKE % b"")
        # More than the kernel's buffers hold, and another event.
        self.store.put(evolve(C1, config={**C1.config, "user.a": "y" * 1_000_000}))
        self.store.put(evolve(C1, config={**C1.config, "user.a": "2"}))
        for guest in self.lines, self.websocket:
            guest.serve()

    def events(self, data: bytes) -> list[str]:
        """Return the values in lines of events."""
        lines = data.removesuffix(b"\n").split(b"\n")
        return [json.loads(line)["metadata"].get("value", "") for line in lines]

    def read(self) -> tuple[list[bytes], list[tuple[int, bytes]]]:
        """Read everything with both guests; return the chunks and the frames."""
        return chunks(self.lines.send()), frames(self.websocket.send())

    def test_pace(self) -> None:
        """Slow guests receive the whole large event, and the event after it."""
        for _ in range(2):
            self.clock.advance(PING_INTERVAL)
            for guest in self.lines, self.websocket:
                guest.serve()
        lines, messages = self.read()
        expected = ["y" * 1_000_000, "2"]
        self.assertEqual(self.events(b"".join(lines)), expected)
        self.assertEqual({opcode for opcode, _ in messages}, {TEXT, CONTINUATION})
        self.assertEqual(self.events(b"".join(p for _, p in messages)), expected)
        self.assertLess(max(map(len, lines)), 20_000)

    def test_too_slow(self) -> None:
        """Streams of guests that stop reading are closed, websockets with a code."""
        for _ in range(KEEP_ALIVE // PING_INTERVAL + 1):
            self.clock.advance(PING_INTERVAL)
        self.lines.serve()
        self.assertIsNone(self.lines.transport)
        *_, (opcode, payload) = frames(self.websocket.send())
        self.assertEqual((opcode, payload[2:]), (CLOSE, b"too slow"))

    def assert_proper_end(self) -> None:
        """Check that both guests receive the whole event, and a proper end."""
        *lines, last = chunks(self.lines.send())
        self.assertEqual(last, b"")
        self.assertEqual(self.events(b"".join(lines))[0], "y" * 1_000_000)
        *messages, (opcode, payload) = frames(self.websocket.send())
        self.assertEqual((opcode, payload[:2]), (CLOSE, b"\x03\xe8"))
        text = b"".join(payload for _, payload in messages)
        self.assertEqual(self.events(text)[0], "y" * 1_000_000)

    def test_stop(self) -> None:
        """When devlxd stops, guests have `CLOSE_TIMEOUT` to read the event."""
        closed = self.site.close_connections()
        self.assert_proper_end()
        self.websocket.send(frame(CLOSE, b"\x03\xe8"))
        self.successResultOf(closed)

    def test_stop_unread(self) -> None:
        """Guests that do not read are disconnected after `CLOSE_TIMEOUT`."""
        closed = self.site.close_connections()
        for guest in self.lines, self.websocket:
            guest.serve()
        self.clock.advance(CLOSE_TIMEOUT - 0.1)
        self.assertNoResult(closed)
        self.clock.advance(0.1)
        self.successResultOf(closed)

    def test_container_removed(self) -> None:
        """When the container is removed, guests receive its events and a proper end."""
        self.store.remove("c1")
        self.assert_proper_end()

    def test_guest_closes(self) -> None:
        """A guest may close the websocket before it has read the whole event."""
        self.websocket.send_only(frame(CLOSE, b"\x03\xe8"))
        *_, (opcode, payload) = frames(self.websocket.send())
        self.assertEqual((opcode, payload), (CLOSE, b"\x03\xe8"))
        self.assertIsNone(self.websocket.transport)

    def test_stop_replay_for_removed_container(self) -> None:
        """When devlxd stops, a replay for a removed container has a proper end."""
        since = b"?since=1970-01-01T00:00:00Z"
        self.lines, self.websocket = self.connect(), self.connect()
        self.lines.send_only(EVENTS.replace(b"/events", b"/events" + since))
        self.websocket.send_only(HANDSHAKE % since)
        head = self.websocket.read()
        self.store.remove("c1")
        self.bus.stopService()
        closed = self.site.close_connections()
        _, _, body = self.lines.send().partition(b"\r\n\r\n")
        *_, last = chunks(body)
        self.assertEqual(last, b"")
        response = head + self.websocket.send()
        *_, (opcode, payload) = frames(response.partition(b"\r\n\r\n")[2])
        self.assertEqual((opcode, payload[:2]), (CLOSE, b"\x03\xe8"))
        self.clock.advance(CLOSE_TIMEOUT)
        self.successResultOf(closed)
