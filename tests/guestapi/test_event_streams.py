"""Tests of `devlxd.guestapi.event_streams`: the bytes of ``/1.0/events``."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from devlxd.containers.memory_store import MemoryStore
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.guestapi.event_streams import EventStream
from devlxd.httpserver.autobahn_private_apis import MAX_FRAMES
from devlxd.httpserver.body_message_sink import KEEP_ALIVE, BodyMessageSink
from devlxd.httpserver.framing import SLICE
from devlxd.httpserver.registry import REQUESTS_PER_ITERATION
from devlxd.httpserver.websocket import PING_INTERVAL, WebSocketSink
from devlxd.interfaces import IContinuableStream, ISink, ISubscriber
from devlxd.model import Caller, Container
from devlxd.testing import GUEST, GuestConnection, MemoryIdentifier, MemoryPeerSource
from devlxd.timestamps import timestamp_text
from tests.default_limits import (
    CLOSE_TIMEOUT,
    IDLE_TIMEOUT,
    MAX_IGNORED,
    MAX_MESSAGE,
    PING_TIMEOUT,
    limits,
)

C1 = Container("c1", {"user.a": "0"})

HANDSHAKE = (
    b"GET /1.0/events%b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

CONTINUATION, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Parse unmasked frames; return opcodes and payloads (RFC 6455, 5.2)."""
    found = []
    while data:
        opcode, length = data[0] & 0x0F, data[1]
        start = 2
        if length == 126:
            (length,) = struct.unpack("!H", data[2:4])
            start = 4
        elif length == 127:
            (length,) = struct.unpack("!Q", data[2:10])
            start = 10
        found.append((opcode, data[start : start + length]))
        data = data[start + length :]
    return found


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """Return a masked frame."""
    length = len(payload)
    if length < 126:
        head = bytes([0x80 | opcode, 0x80 | length])
    elif length < 2**16:
        head = bytes([0x80 | opcode, 0x80 | 126]) + struct.pack("!H", length)
    else:
        head = bytes([0x80 | opcode, 0x80 | 127]) + struct.pack("!Q", length)
    return head + bytes(4) + payload


def chunks(data: bytes) -> list[bytes]:
    """Parse a chunked body; return the chunks."""
    found = []
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        found.append(data[:length])
        data = data[length + 2 :]
    return found


class EventsTestCase(SynchronousTestCase):
    """A base class with one container and a site with a bus."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(10**9)
        self.store = MemoryStore([C1])
        self.bus = EventBus(
            self.store,
            SQLiteJournal(),
            Clock(),
            lambda: int(self.clock.seconds() * 10**9),
            namespaces=["user."],
        )
        self.bus.startService()
        self.addCleanup(self.bus.stopService)
        self.identifier = MemoryIdentifier({GUEST.pid: Caller("c1", 0, run=1)})
        self.site = GuestSites(
            self.store,
            self.identifier,
            MemoryPeerSource(),
            self.clock,
            bus=self.bus,
        ).site(LXD)
        self.site.doStart()
        self.addCleanup(self.site.doStop)
        self.guest = GuestConnection(self.site)

    def put(self, value: str, **config: str) -> None:
        """Change the value of ``user.a``, and set the other config keys."""
        self.store.put(evolve(C1, config={"user.a": value, **config}))

    def stop_reading(self, guest: GuestConnection) -> None:
        """Stop reading as the guest: its transport is full."""
        assert guest.transport.producer is not None
        guest.transport.producer.pauseProducing()
        # Full transports pause their producers at every write.
        guest.transport.producer.pauseProducing()

    def resume_reading(self, guest: GuestConnection) -> None:
        """Read again as the guest."""
        assert guest.transport.producer is not None
        guest.transport.producer.resumeProducing()

    def assert_nothing_left(self) -> None:
        """Check that there are no subscriptions and no pending calls."""
        known = [*self.bus._present.values(), *self.bus._removed]
        self.assertEqual([one for one in known if one.subscriptions], [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RequestTests(EventsTestCase):
    """Requests for events."""

    def assert_refused(self, request: bytes, code: bytes, body: bytes) -> bytes:
        """Check that a request is refused in plain text; return the response."""
        response = GuestConnection(self.site).send(request)
        self.assertEqual(response[9:12], code, response)
        self.assertTrue(response.endswith(b"\r\n\r\n" + body), response)
        self.assertIn(b"Content-Type: text/plain; charset=utf-8\r\n", response)
        return response

    def test_interfaces(self) -> None:
        """The stream and its sinks provide their interfaces."""
        self.assertTrue(verifyClass(ISubscriber, EventStream))
        self.assertTrue(verifyClass(IContinuableStream, EventStream))
        for kind in (BodyMessageSink, WebSocketSink):
            self.assertTrue(verifyClass(ISink, kind))

    def test_types(self) -> None:
        """Commas and optional spaces separate types; unknown types are refused."""
        for types in (b"", b"config", b"device,config", b"%20device%20,+config", b","):
            response = GuestConnection(self.site).send(
                b"GET /1.0/events?type=%b HTTP/1.1\r\nHost: x\r\n\r\n" % types
            )
            self.assertEqual(response[9:12], b"200", types)
        for types in (b"lost", b"config,nope", b"Config", b"%FF"):
            for request in (
                b"GET /1.0/events?type=%b HTTP/1.1\r\nHost: x\r\n\r\n" % types,
                HANDSHAKE % (b"?type=" + types),
            ):
                self.assert_refused(request, b"400", b"no such event type\n")

    def test_since(self) -> None:
        """A ``since`` that is not a timestamp is refused."""
        request = b"GET /1.0/events?since=%b HTTP/1.1\r\nHost: x\r\n\r\n"
        for since in (
            b"x",
            b"1",
            b"%FF",
            b"9999-99-99T00:00:00Z",
            b"2017-12-21T00:00:00+99:99",
        ):
            self.assert_refused(request % since, b"400", b"since is not a time\n")
        for year in (b"0001", b"9999"):
            since = year + b"-01-01T00:00:00Z"
            response = GuestConnection(self.site).send(request % since)
            self.assertEqual(response[9:12], b"200")

    def test_methods(self) -> None:
        """GET and HEAD are allowed, other methods are not."""
        response = self.guest.send(b"HEAD /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(response[9:12], b"200")
        response = self.guest.send(b"POST /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(response[9:12], b"405")

    def test_bad_handshake(self) -> None:
        """An invalid handshake is refused in plain text, with the supported version."""
        good = HANDSHAKE % b""
        for bad in (
            good.replace(b"Version: 13", b"Version: 8"),
            good.replace(b"Sec-WebSocket-Version: 13\r\n", b""),
            good.replace(b"Sec-WebSocket-Key", b"X"),
            good.replace(b"dGhl", b"!!!!"),
            good.replace(b"dGhl", b""),
            good.replace(b"Connection: Upgrade", b"Connection: keep-alive"),
            good.replace(b"HTTP/1.1", b"HTTP/1.0"),
        ):
            response = self.assert_refused(bad, b"400", b"bad request\n")
            self.assertIn(b"sec-websocket-version: 13\r\n", response.lower(), bad)

    def test_lists(self) -> None:
        """Headers of a handshake may be lists on several lines (RFC 9110, 5.3, 7.8)."""
        good = HANDSHAKE % b""
        for connection, upgrade in (
            (b"keep-alive, Upgrade", b"websocket"),
            (b"keep-alive\r\nConnection: upgrade", b"websocket"),
            (b"upgrade\r\nConnection: keep-alive", b"websocket"),
            (b"Upgrade", b"h2c, websocket"),
            (b"Upgrade", b"WebSocket ,h2c"),
            (b"Upgrade", b"h2c\r\nUpgrade: websocket"),
        ):
            request = good.replace(b"Upgrade: websocket", b"Upgrade: " + upgrade)
            request = request.replace(
                b"Connection: Upgrade", b"Connection: " + connection
            )
            response = GuestConnection(self.site).send(request)
            self.assertEqual(response[9:12], b"101", request)

    def test_handshake_with_body(self) -> None:
        """A handshake with a body is refused (RFC 9110, 9.3.1)."""
        for header, body in (
            (b"Content-Length: 3", b"abc"),
            (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
        ):
            head = (HANDSHAKE % b"").replace(b"Host: x", b"Host: x\r\n" + header)
            self.assert_refused(head + body, b"400", b"bad request\n")
            response = self.guest.send(head + body + HANDSHAKE % b"")
            self.assertIn(b"\r\n\r\nbad request\nHTTP/1.1 101 ", response)
            self.guest = GuestConnection(self.site)
        none = (HANDSHAKE % b"").replace(b"Host: x", b"Host: x\r\nContent-Length: 0")
        self.assertEqual(self.guest.send(none)[9:12], b"101")

    def test_timestamp(self) -> None:
        """The response has the current timestamp, for a later ``since``."""
        self.put("1")
        self.clock.advance(1)
        since = set()
        for request in (
            b"HEAD /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /1.0/events HTTP/1.0\r\n\r\n",
            HANDSHAKE % b"",
        ):
            response = GuestConnection(self.site).send(request)
            head = response.partition(b"\r\n\r\n")[0] + b"\r\n"
            since.add(head.partition(b"X-Devlxd-Timestamp: ")[2].partition(b"\r\n")[0])
        self.assertEqual(since, {timestamp_text(10**18 + 1).encode()})
        self.put("2")
        query = b"?since=" + since.pop().replace(b"+", b"%2B")
        response = self.guest.send(HANDSHAKE % query)
        self.assertEqual(response.count(b'"timestamp"'), 1)
        self.assertIn(b'"value":"2"', response)

    def test_no_html(self) -> None:
        """No response contains texts or headers of autobahn."""
        plain = self.guest.send(b"GET /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n")
        shaken = GuestConnection(self.site).send(HANDSHAKE % b"")
        for response in (plain, shaken):
            self.assertNotIn(b"html", response.lower())
            self.assertNotIn(b"autobahn", response.lower())
            self.assertNotIn(b"Server:", response)


class BodyMessageSinkTests(EventsTestCase):
    """Events as lines."""

    def begin(self, query: bytes = b"") -> bytes:
        """Subscribe; return the head of the response, and the data that follows it."""
        return self.guest.send(b"GET /1.0/events%b HTTP/1.1\r\nHost: x\r\n\r\n" % query)

    def lines(self) -> list[bytes]:
        """Return the chunks since the last call."""
        return chunks(self.guest.send(b""))

    def values(self) -> list[str]:
        """Return the values in the events since the last call."""
        return [json.loads(line)["metadata"]["value"] for line in self.lines()]

    def test_head(self) -> None:
        """The head is sent immediately, with LXD's headers."""
        self.assertEqual(
            sorted(self.begin().removesuffix(b"\r\n\r\n").split(b"\r\n")),
            [
                b"Connection: keep-alive",
                b"Content-Type: application/json",
                b"HTTP/1.1 200 OK",
                b"Transfer-Encoding: chunked",
                b"X-Content-Type-Options: nosniff",
                b"X-Devlxd-Timestamp: 2001-09-09T01:46:40.000000000+00:00",
            ],
        )

    def test_events(self) -> None:
        """Each event is one line of JSON, in order."""
        self.begin()
        self.put("1")
        self.put("2")
        lines = self.lines()
        self.assertEqual(
            lines[0].decode(),
            f'{{"timestamp":"{timestamp_text(10**18 + 1)}","type":"config","metadata":'
            '{"key":"user.a","old_value":"0","value":"1"}}\n',
        )
        self.assertEqual(len(lines), 2)

    def test_while_head_is_sent(self) -> None:
        """A change while the head is sent is not missed."""
        sequence = self.guest.transport.writeSequence

        def head_and_change(data: list[bytes]) -> None:
            sequence(data)
            self.put("1")

        self.patch(self.guest.transport, "writeSequence", head_and_change)
        response = self.begin()
        self.assertEqual(response.count(b'"value":"1"'), 1)

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 client receives lines without chunks."""
        self.guest.send(b"GET /1.0/events HTTP/1.0\r\n\r\n")
        self.put("1")
        self.assertEqual(json.loads(self.guest.send(b""))["type"], "config")

    def test_end_of_connection(self) -> None:
        """If the stream ends with the connection, the head says so (RFC 9112, 6.3)."""
        for version, options in (
            (b"1.0", b"Connection: keep-alive\r\n"),
            (b"1.0", b""),
            (b"1.1", b"Connection: close\r\n"),
        ):
            for method in (b"GET", b"HEAD"):
                guest = GuestConnection(self.site)
                request = b"%b /1.0/events HTTP/%b\r\nHost: x\r\n%b\r\n"
                response = guest.send(request % (method, version, options))
                self.assertEqual(
                    response.count(b"\r\nConnection: close\r\n"), 1, response
                )
                self.assertNotIn(b"keep-alive", response)
                chunked = b"Transfer-Encoding" in response
                self.assertEqual(chunked, (version, method) == (b"1.1", b"GET"))
                self.assertEqual(guest.transport.disconnecting, method == b"HEAD")
        self.guest.send(b"GET /1.0/events HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.store.remove("c1")
        self.assertTrue(self.guest.send(b"").endswith(b"}\n"))
        self.assertTrue(self.guest.transport.disconnecting)

    def test_body(self) -> None:
        """A body of the request is ignored; later data counts against the limit."""
        for header, body in (
            (b"Content-Length: 3", b"abc"),
            (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
        ):
            self.guest = GuestConnection(self.site)
            head = b"GET /1.0/events HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % header
            self.guest.send(head + body + b"more")
            self.assertEqual(self.guest.transport.producerState, "producing")
            self.guest.send(b"x" * MAX_IGNORED)
            self.assertFalse(self.guest.transport.disconnected)
            self.guest.send(b"x")
            self.assertTrue(self.guest.transport.disconnected)

    def test_since(self) -> None:
        """Missed events are sent first; the + in ``since`` may be unencoded."""
        self.put("1")
        self.clock.advance(1)
        self.put("2")
        when = timestamp_text(10**18 + 1).encode()
        for since in (when, when.replace(b"+", b"%2B")):
            self.guest = GuestConnection(self.site)
            response = self.begin(b"?since=" + since)
            self.assertEqual(response.count(b'"value"'), 1)
            self.assertIn(b'"value":"2"', response)
        self.guest = GuestConnection(self.site)
        self.assertIn(b'"type":"lost"', self.begin(b"?since=1970-01-01T00:00:00Z"))

    def test_kept_alive(self) -> None:
        """Empty lines keep the stream alive."""
        self.begin()
        self.clock.advance(KEEP_ALIVE)
        self.assertEqual(self.lines(), [b"\n"])
        self.clock.pump([IDLE_TIMEOUT] * 100)
        self.assertFalse(self.guest.transport.disconnecting)

    def test_data_from_guest(self) -> None:
        """Data from the guest is ignored, up to a limit."""
        self.begin()
        self.guest.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        self.put("1")
        self.assertEqual(self.values(), ["1"])
        self.guest.send(b"x" * MAX_IGNORED)
        self.assertTrue(self.guest.transport.disconnected)

    def test_guest_disconnects(self) -> None:
        """A guest that has disconnected leaves no subscription and no timeout."""
        self.begin()
        self.guest.disconnect()
        self.assert_nothing_left()
        self.put("1")

    def test_half_close(self) -> None:
        """A guest that closes its writing end is disconnected, as by LXD."""
        self.begin()
        self.guest.half_close()
        self.assertTrue(self.guest.transport.disconnected)

    def test_stalls(self) -> None:
        """A guest that does not read for a while misses no event."""
        self.begin()
        self.stop_reading(self.guest)
        for value in "12345":
            self.put(value)
        self.clock.advance(KEEP_ALIVE - 1)
        self.assertEqual(self.lines(), [])
        self.resume_reading(self.guest)
        self.assertEqual(self.values(), list("12345"))

    def test_too_slow(self) -> None:
        """The stream of a guest that reads too slowly is aborted."""
        self.patch(self.bus, "_limits", limits(queued_events=3))
        self.begin()
        self.stop_reading(self.guest)
        for value in "12345":
            self.put(value)
        self.assertTrue(self.guest.transport.disconnected)
        self.guest.disconnect()
        self.assert_nothing_left()

    def test_never_reads(self) -> None:
        """The stream of a guest that stops reading is aborted after a timeout."""
        self.begin()
        self.stop_reading(self.guest)
        self.put("1")
        self.clock.pump([KEEP_ALIVE, KEEP_ALIVE])
        self.assertTrue(self.guest.transport.disconnected)

    def test_container_removed(self) -> None:
        """When the container is removed, its last events and a proper end are sent."""
        self.begin()
        self.store.remove("c1")
        *lines, last = self.lines()
        self.assertEqual(json.loads(lines[0])["metadata"]["value"], "")
        self.assertEqual(last, b"")
        self.assertTrue(self.guest.transport.disconnecting)

    def test_container_removed_unread(self) -> None:
        """If the end of a stream is not read, the connection is aborted."""
        self.begin()
        self.stop_reading(self.guest)
        self.store.remove("c1")
        self.assertFalse(self.guest.transport.disconnected)
        self.clock.advance(IDLE_TIMEOUT)
        self.assertTrue(self.guest.transport.disconnected)

    def test_run_ends(self) -> None:
        """When the container's run ends, the stream is closed."""
        self.begin()
        self.identifier.end(1)
        self.assertEqual(self.lines(), [b""])
        self.assertTrue(self.guest.transport.disconnecting)

    def test_switched_off(self) -> None:
        """When the API is switched off for the container, the stream is closed."""
        other = GuestConnection(self.site)
        other.get("/1.0")
        self.begin()
        self.put("1", **{"security.devlxd": "true"})
        self.assertFalse(self.guest.transport.disconnecting)
        self.put("1", **{"security.devlxd": "false"})
        self.assertTrue(self.guest.transport.disconnecting)
        self.assertEqual(other.get("/1.0")[9:12], b"403")

    def test_bus_stops(self) -> None:
        """When the bus stops, the stream is closed."""
        self.begin()
        self.bus.stopService()
        self.assertEqual(self.lines(), [b""])
        self.assertTrue(self.guest.transport.disconnecting)

    def test_stop(self) -> None:
        """When devlxd stops, the stream has a proper end."""
        self.begin()
        closed = self.site.close_connections()
        self.assertEqual(self.lines(), [b""])
        self.guest.disconnect()
        self.successResultOf(closed)
        self.assert_nothing_left()


class WebSocketSinkTests(EventsTestCase):
    """Events as websocket messages."""

    def begin(self, query: bytes = b"", early: bytes = b"") -> bytes:
        """Send the handshake and ``early`` data; return the head of the response."""
        response = self.guest.send(HANDSHAKE % query + early)
        head, _, self.rest = response.partition(b"\r\n\r\n")
        return head

    def received(self, data: bytes = b"") -> list[tuple[int, bytes]]:
        """Send ``data``; return the frames since the last call."""
        rest, self.rest = self.rest, b""
        return frames(rest + self.guest.send(data))

    def messages(self) -> list[Any]:
        """Return the messages since the last call."""
        texts: list[bytes] = []
        for opcode, payload in self.received():
            if opcode == TEXT:
                texts.append(payload)
            elif opcode == CONTINUATION:
                texts[-1] += payload
        return [json.loads(text) for text in texts]

    def test_handshake(self) -> None:
        """The response to a handshake is that of RFC 6455, 4.2.2; case is ignored."""
        for upgrade in (b"websocket", b"WebSocket", b"WEBSOCKET"):
            self.guest = GuestConnection(self.site)
            response = self.guest.send(
                (HANDSHAKE % b"").replace(b"Upgrade: websocket", b"Upgrade: " + upgrade)
            )
            head = response.lower()
            self.assertTrue(head.startswith(b"http/1.1 101 switching protocols\r\n"))
            self.assertIn(b"\r\nupgrade: websocket\r\n", head)
            self.assertIn(b"\r\nconnection: upgrade\r\n", head)
            self.assertIn(b": s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", response)

    def test_events(self) -> None:
        """Each event is one message, with a newline at its end."""
        self.begin()
        self.put("1")
        ((opcode, payload),) = self.received()
        self.assertEqual(opcode, TEXT)
        self.assertTrue(payload.endswith(b"}\n"))
        self.put("2")
        (message,) = self.messages()
        self.assertEqual(message["metadata"]["value"], "2")

    def test_no_frame_of_a_newline(self) -> None:
        """The newline at the end of an event never has a frame of its own."""
        self.begin()
        self.put("")
        ((_, payload),) = self.received()
        self.put("x" * 1000)
        ((_, payload),) = self.received()
        rest = SLICE - (len(payload) - 1000)
        # The lengths of timestamps differ.
        for more in range(-10, 10):
            self.put("")
            self.received()
            self.put("x" * (rest + more))
            lengths = [len(payload) for _, payload in self.received()]
            self.assertNotIn(1, lengths)

    def test_large_event(self) -> None:
        """Events may be longer than a frame."""
        self.begin()
        self.put("x" * 100_000)
        (message,) = self.messages()
        self.assertEqual(len(message["metadata"]["value"]), 100_000)

    def test_since_and_types(self) -> None:
        """Missed events of the requested types are sent first."""
        self.put("1")
        self.begin(b"?type=config&since=" + timestamp_text(10**18).encode())
        self.assertEqual([m["type"] for m in self.messages()], ["config"])
        self.store.put(evolve(C1, config={"user.a": "1"}, devices={"d": {}}))
        self.assertEqual(self.messages(), [])

    def test_pings(self) -> None:
        """The guest is pinged; without a pong the connection is aborted."""
        self.begin()
        for _ in range(10):
            self.clock.advance(PING_INTERVAL)
            ((opcode, payload),) = self.received()
            self.assertEqual(opcode, PING)
            self.received(frame(PONG, payload))
        self.clock.pump([PING_INTERVAL] * (PING_TIMEOUT // PING_INTERVAL + 1))
        self.assertTrue(self.guest.transport.disconnected)

    def test_pinged(self) -> None:
        """Pings of the guest are answered while it reads."""
        self.begin()
        self.assertEqual(self.received(frame(PING, b"hi")), [(PONG, b"hi")])
        self.stop_reading(self.guest)
        self.assertEqual(self.received(frame(PING, b"hi") * 100), [])

    def test_many_frames(self) -> None:
        """Many frames of a guest are processed in turns, and nothing is read before."""
        self.begin()
        count = 3 * MAX_FRAMES + 5
        self.guest._protocol.dataReceived(frame(PING) * count)
        self.assertEqual(len(frames(self.guest.receive())), MAX_FRAMES)
        self.assertEqual(self.guest.transport.producerState, "paused")
        self.clock.pump([0] * 4)
        self.assertEqual(len(frames(self.guest.receive())), count - MAX_FRAMES)
        self.assertEqual(self.guest.transport.producerState, "producing")

    def test_many_frames_of_many(self) -> None:
        """The frames of all connections of a container have one share of the time."""
        count = REQUESTS_PER_ITERATION + 10
        guests = [GuestConnection(self.site) for _ in range(count)]
        for guest in guests:
            guest.send(HANDSHAKE % b"")
        for guest in guests:
            guest._protocol.dataReceived(frame(PING))
        answered = [bool(guest.receive()) for guest in guests]
        self.assertIn(sum(answered), range(1, REQUESTS_PER_ITERATION + 1))
        for _ in range(count):
            self.clock.advance(0)
        self.assertEqual(
            [bool(guest.receive()) for guest in guests], [not one for one in answered]
        )

    def test_many_frames_and_end(self) -> None:
        """A guest that disconnects before the turn leaves nothing behind."""
        self.begin()
        self.received(frame(PING) * (MAX_FRAMES + 1))
        self.guest.disconnect()
        self.clock.advance(0)
        self.assert_nothing_left()

    def test_never_reads(self) -> None:
        """A guest that stops reading is disconnected, although it sends pongs."""
        self.begin()
        self.stop_reading(self.guest)
        found = []
        for _ in range(PING_TIMEOUT // PING_INTERVAL + 1):
            self.clock.advance(PING_INTERVAL)
            found += self.received(frame(PONG))
        ((opcode, payload),) = found
        self.assertEqual((opcode, payload[:2]), (CLOSE, struct.pack("!H", 4008)))

    def test_nothing_logged(self) -> None:
        """Nothing that the guest sends causes a log line."""
        with capturedLogs() as events:
            for data in (b"\x8f\x80abcd", b"\x81\x01x", b"\xff" * 50, frame(8, b"x")):
                self.guest = GuestConnection(self.site)
                self.begin()
                self.guest.send(data)
        self.assertEqual(events, [])

    def test_protocol_errors(self) -> None:
        """Invalid frames are answered with a close code (RFC 6455, 7.1.7 and 7.4.1)."""
        for data, code in (
            (b"\x81\x01x", 1002),
            (b"\xc1\x80abcd", 1002),
            (frame(3), 1002),
            (frame(0), 1002),
            (frame(TEXT)[:1] + b"\x80abcd" + frame(11), 1002),
            (b"\x09\x80abcd", 1002),
            (frame(CLOSE, b"x"), 1002),
            (frame(CLOSE, struct.pack("!H", 999)), 1002),
            (frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
            (frame(TEXT, b"\xff"), 1007),
        ):
            self.guest.disconnect()
            self.guest = GuestConnection(self.site)
            self.begin()
            ((opcode, payload),) = self.received(data)
            self.assertEqual((opcode, payload[:2]), (CLOSE, struct.pack("!H", code)))
            # From now on nothing else is sent.
            self.put(str(data))
            self.assertEqual(self.received(frame(PING)), [])
            if not self.guest.transport.disconnecting:
                self.received(frame(CLOSE, struct.pack("!H", code)))
            self.assertTrue(self.guest.transport.disconnecting, data)
            self.assertFalse(self.guest.transport.disconnected, data)
        self.guest.disconnect()
        self.assert_nothing_left()

    def test_guest_stays_connected(self) -> None:
        """A guest that does not disconnect after the closing handshake is aborted."""
        for data in (frame(CLOSE), b"\x81\x01x"):
            self.guest = GuestConnection(self.site)
            self.begin()
            self.received(data)
            self.clock.advance(IDLE_TIMEOUT - 1)
            self.assertFalse(self.guest.transport.disconnected)
            self.clock.advance(1)
            self.assertTrue(self.guest.transport.disconnected)
            self.guest.disconnect()
        self.assert_nothing_left()

    def test_data_from_guest(self) -> None:
        """Messages from the guest are ignored, up to a limit."""
        self.begin(early=frame(TEXT, b"early"))
        self.received(frame(TEXT, b"x" * 1000) * 10)
        self.put("1")
        self.assertEqual(len(self.messages()), 1)
        self.received(frame(TEXT, b"x" * (MAX_MESSAGE + 1)))
        self.assertTrue(self.guest.transport.disconnected)

    def test_guest_closes(self) -> None:
        """A close frame is answered; no subscription and no timeout is left."""
        self.begin()
        ((opcode, payload),) = self.received(frame(CLOSE, struct.pack("!H", 1000)))
        self.assertEqual((opcode, payload[:2]), (CLOSE, struct.pack("!H", 1000)))
        self.assertTrue(self.guest.transport.disconnecting)
        self.guest.disconnect()
        self.assert_nothing_left()

    def test_guest_disconnects(self) -> None:
        """A guest that disconnects without a close frame leaves no subscription."""
        self.begin()
        self.guest.disconnect()
        self.assert_nothing_left()

    def test_stalls(self) -> None:
        """A guest that does not read for a while misses no event."""
        self.begin()
        self.stop_reading(self.guest)
        for value in "12345":
            self.put(value)
        self.assertEqual(self.messages(), [])
        self.resume_reading(self.guest)
        values = [m["metadata"]["value"] for m in self.messages()]
        self.assertEqual(values, list("12345"))

    def test_too_slow(self) -> None:
        """A guest that reads too slowly receives a close code, and is disconnected."""
        self.patch(self.bus, "_limits", limits(queued_events=3))
        self.begin()
        self.stop_reading(self.guest)
        for value in "12345":
            self.put(value)
        ((opcode, payload),) = self.received()
        self.assertEqual(opcode, CLOSE)
        self.assertEqual(payload, struct.pack("!H", 4008) + b"too slow")
        self.clock.advance(IDLE_TIMEOUT)
        self.assertTrue(self.guest.transport.disconnected)
        self.guest.disconnect()
        self.assert_nothing_left()

    def test_container_removed(self) -> None:
        """When the container is removed, its events and a close frame are sent."""
        self.begin()
        self.store.remove("c1")
        (event, (opcode, payload)) = self.received()
        self.assertEqual(json.loads(event[1])["metadata"]["value"], "")
        self.assertEqual((opcode, payload[:2]), (CLOSE, struct.pack("!H", 1000)))

    def test_bus_stops(self) -> None:
        """When the bus stops, a close frame with the reason is sent."""
        self.begin()
        self.bus.stopService()
        ((opcode, payload),) = self.received()
        self.assertEqual(opcode, CLOSE)
        self.assertEqual(payload, struct.pack("!H", 1000) + b"devlxd stops")

    def test_ends(self) -> None:
        """The end of the run, the switch and the end of devlxd close the websocket."""
        for end in (
            lambda: self.identifier.end(1),
            lambda: self.put("1", **{"security.devlxd": "no"}),
            self.site.close_connections,
        ):
            self.put("0", **{"security.devlxd": "yes"})
            self.guest = GuestConnection(self.site)
            self.begin()
            end()
            opcode, payload = self.received()[-1]
            self.assertEqual((opcode, payload[:2]), (CLOSE, struct.pack("!H", 1000)))
            self.clock.advance(CLOSE_TIMEOUT)
            self.assertTrue(self.guest.transport.disconnected)
            self.guest.disconnect()

    def test_no_global_reactor(self) -> None:
        """Timeouts use the reactor of the site, and not the global one."""
        self.begin()
        self.assertGreater(len(self.clock.getDelayedCalls()), 0)
        self.guest.disconnect()
        self.assert_nothing_left()

    def test_key_is_checked(self) -> None:
        """The handshake key is passed on to autobahn if it has 16 bytes."""
        key = base64.b64encode(b"0123456789abcdef")
        response = self.guest.send(
            (HANDSHAKE % b"").replace(b"dGhlIHNhbXBsZSBub25jZQ==", key)
        )
        self.assertEqual(response[9:12], b"101")
