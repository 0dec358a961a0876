"""Tests of what the streams of events share, and of what each needs by itself."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from devlxd.compact_json import compact_json
from devlxd.guestapi import event_rendering
from devlxd.httpserver.body_message_sink import KEEP_ALIVE
from devlxd.httpserver.framing import SLICE
from devlxd.httpserver.request import DevLXDRequest
from devlxd.httpserver.websocket import PING_INTERVAL
from devlxd.testing import GuestConnection
from tests.guestapi.test_event_streams import HANDSHAKE, EventsTestCase

LINES = b"GET /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n"

#: The requests for streams of each kind.
REQUESTS = {
    "lines": LINES,
    "lines of HTTP/1.0": LINES.replace(b"1.1", b"1.0"),
    "websocket": HANDSHAKE % b"",
}


class SharedEventsTestCase(EventsTestCase):
    """A base class with many streams."""

    def setUp(self) -> None:
        super().setUp()
        self.guest.disconnect()

    def begin(self, request: bytes) -> tuple[GuestConnection, list[bytes]]:
        """Begin a stream; return its connection, and a list for what is written."""
        guest = GuestConnection(self.site)
        guest.send(request)
        written: list[bytes] = []
        write = guest.transport.write

        def record(data: bytes) -> None:
            written.append(data)
            write(data)

        self.patch(guest.transport, "write", record)
        return guest, written


class SharingTests(SharedEventsTestCase):
    """What all streams of one kind share."""

    def test_same_object(self) -> None:
        """All streams of one kind write the same object for an event."""
        for kind, request in REQUESTS.items():
            streams = [self.begin(request)[1] for _ in range(5)]
            self.put(kind)
            first, *others = streams
            self.assertEqual(len(first), 1, kind)
            for other in others:
                self.assertEqual(len(other), 1, kind)
                self.assertIs(other[0], first[0], kind)

    def test_rendered_once(self) -> None:
        """An event is rendered once for each kind of stream, however many there are."""
        calls = 0

        def counting(value: Any) -> str:  # noqa: ANN401 # any value of JSON
            nonlocal calls
            calls += 1
            return compact_json(value)

        self.patch(event_rendering, "compact_json", counting)
        for request in REQUESTS.values():
            for _ in range(20):
                self.begin(request)
        self.put("1")
        self.assertEqual(calls, len(REQUESTS))

    def test_slow(self) -> None:
        """A stream whose client reads later writes the same object, too."""
        for request in REQUESTS.values():
            guest, late = self.begin(request)
            _, written = self.begin(request)
            self.stop_reading(guest)
            self.put("1")
            self.put("2")
            self.assertEqual(late, [])
            self.resume_reading(guest)
            self.assertEqual(len(late), 2)
            for one, other in zip(late, written, strict=True):
                self.assertIs(one, other)
            self.put("0")

    def test_long(self) -> None:
        """A long event is written in slices, to each stream by itself."""
        for request in REQUESTS.values():
            guest, written = self.begin(request)
            self.put("x" * 3 * SLICE)
            self.assertEqual(len(written), 4)
            self.assertLess(max(map(len, written)), SLICE + 100)
            guest.disconnect()
            self.put("0")

    def test_not_exported(self) -> None:
        """Nothing is written for an event that guests may not see."""
        streams = [self.begin(request)[1] for request in REQUESTS.values()]
        self.put("0", **{"boot.autostart": "true"})
        self.assertEqual(streams, [[]] * len(REQUESTS))


class NeedsTests(SharedEventsTestCase):
    """What each stream needs by itself."""

    def setUp(self) -> None:
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def test_request_is_freed(self) -> None:
        """Once a stream has begun, its request is freed, with all its headers."""
        requests: list[weakref.ref[DevLXDRequest]] = []
        respond = self.site.server.handler.respond

        def recording(request: Any, caller: object) -> object:  # noqa: ANN401
            requests.append(weakref.ref(request))
            return respond(request, caller)

        self.patch(self.site.server.handler, "respond", recording)
        for request in REQUESTS.values():
            guest, written = self.begin(request)
            self.assertIsNone(requests.pop()())
            self.put(repr(request))
            self.assertEqual(len(written), 1)
            guest.disconnect()
        self.assert_nothing_left()

    def test_one_timer(self) -> None:
        """All streams of one kind have one timer."""
        guests = [self.begin(r)[0] for r in REQUESTS.values() for _ in range(50)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        for guest in guests:
            guest.disconnect()
        self.assert_nothing_left()

    def test_checked(self) -> None:
        """Each of very many streams receives its empty lines or pings."""
        for request, interval in zip(
            REQUESTS.values(), (KEEP_ALIVE, KEEP_ALIVE, PING_INTERVAL), strict=True
        ):
            streams = [self.begin(request)[1] for _ in range(250)]
            self.clock.advance(interval)
            self.assertEqual([len(written) for written in streams], [1] * 250)
            self.site.close_connections()
            self.clock.advance(interval)
