"""Tests of the events of `devlxd.client.guest`, with servers of all kinds.

The suite of `tests.client.test_guest` tests them with devlxd's own server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.logger import capturedLogs

from devlxd.client import (
    Event,
    Forbidden,
    GuestError,
    Lost,
    NotSupported,
    ProtocolError,
    Unavailable,
)
from devlxd.client.event_socket import MAX_FRAMES, MAX_HEAD
from tests.client.memory_network import HELD, Endless, settle
from tests.client.scripts import Script, WebSocketScript, accepting, frame, response
from tests.client.test_guest_hostile import SLACK, TIMEOUT, HostileTestCase

#: Longer than any pause before a new connection.
LONG = 11


def event(number: int, size: int = 0) -> bytes:
    """Return an event as JSON, with ``size`` bytes more."""
    text = "x" * size
    return (
        f'{{"type":"config","timestamp":"2026-01-01T00:00:{number:02}Z",'
        f'"metadata":{{"key":"user.a","value":"{number}","old_value":"{text}"}}}}\n'
    ).encode()


class EventsTestCase(HostileTestCase):
    """A listener.

    :ivar guest: the guest, after `listen`.
    """

    def listen(
        self, serve: Callable[[], Script | Endless], types: Collection[str] = ()
    ) -> AsyncGenerator[Event, None]:
        """Return the events of a server."""
        return self.serve(serve).events(types)

    def next(self, events: AsyncGenerator[Event, None]) -> Deferred[Event]:
        """Ask for the next event."""

        async def ask() -> Event:
            return await events.__anext__()

        return self.begin(ask())

    def first(self, data: bytes) -> object:
        """Return the first event, or the exception, of a server that sends ``data``."""
        return self.result_of(self.late(self.next(self.listen(lambda: Script(data)))))

    def late(self, waiting: Deferred[Event]) -> Deferred[Event]:
        """Let the timeout of a connection pass."""
        self.clock.advance(TIMEOUT)
        settle(self.clock)
        return waiting

    def restart(self) -> None:
        """End the connection, and let the longest pause pass."""
        self.endpoint.open_ends()[0].other.loseConnection()
        settle(self.clock)
        self.clock.advance(LONG)
        settle(self.clock)

    def close(self, events: AsyncGenerator[Event, None]) -> None:
        """Close an iterator; nothing is left."""

        async def close() -> None:
            await events.aclose()

        self.successResultOf(self.begin(close()))
        self.assert_clean()


class RefusalTests(EventsTestCase):
    """Servers without events."""

    def test_statuses(self) -> None:
        """A status is the exception that it is for a question, with its text."""
        for status, kind in [
            (401, Forbidden),
            (403, Forbidden),
            (404, NotSupported),
            (500, Unavailable),
            (503, Unavailable),
            (400, ProtocolError),
        ]:
            error = self.first(response(b"the text\n", status))
            self.assertIs(type(error), kind)
            self.assertIn("the text", str(error))

    def test_pieces(self) -> None:
        """The text is whole, however the response arrives."""
        head = b"HTTP/1.1 403 Forbidden\r\n"
        bodies = [
            head + b"Content-Length: 4\r\n\r\ntext",
            head + b"Transfer-Encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n",
        ]
        for data in bodies:
            server = Script(b"")
            waiting = self.next(self.listen(lambda server=server: server))  # type: ignore[misc] # mypy cannot infer its type
            for number in range(len(data)):
                server.send(data[number : number + 1])
                settle(self.clock)
                if number < len(data) - 6:
                    self.assertNoResult(waiting)
            error = self.result_of(waiting)
            self.assertEqual((type(error), str(error)), (Forbidden, "text"))

    def test_closed(self) -> None:
        """A response without a length ends with the connection."""
        data = b"HTTP/1.0 403 Forbidden\r\n\r\ntext"
        error = self.result_of(self.next(self.listen(lambda: Script(data, True))))
        self.assertEqual((type(error), str(error)), (Forbidden, "text"))

    def test_no_websocket(self) -> None:
        """A server that ignores the request for a websocket is a `ProtocolError`."""
        self.assertIsInstance(self.first(b"HTTP/1.1 200 OK\n\n"), ProtocolError)
        self.assertIsInstance(
            self.first(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), ProtocolError
        )

    def test_silence(self) -> None:
        """A server that does not answer is `Unavailable` after the timeout."""
        error = self.first(b"")
        self.assertEqual(str(error), "no answer within 10 s")

    def test_endless(self) -> None:
        """A response without end is not read to its end."""
        for beginning in (b"", b"HTTP/1.1 404 No\r\n", b"HTTP/1.1 404 No\r\n\r\n"):
            server = Endless(beginning, b"x" * 1000)
            waiting = self.next(self.listen(lambda server=server: server))  # type: ignore[misc] # mypy cannot infer its type
            error = self.result_of(self.late(waiting))
            self.assertIsInstance(error, GuestError)
            self.assertLess(server.sent, MAX_HEAD + SLACK)

    @settings(deadline=None, max_examples=200)
    @given(data=st.binary(max_size=300))
    @example(b"HTTP/1.1 101 \xff\r\n\r\n")
    @example(b"HTTP/1.1 404 No\r\nContent-Length: x\r\n\r\n")
    @example(b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\nx")
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are a `GuestError`, and nothing is logged."""
        with capturedLogs() as logs:
            self.assertIsInstance(self.first(data), GuestError)
        self.assertEqual(logs, [])


class ListenTests(EventsTestCase):
    """Connections that were opened."""

    def test_without_positions(self) -> None:
        """With LXD and Incus, each new connection begins with `Lost`."""
        servers: list[WebSocketScript] = []

        def serve() -> WebSocketScript:
            servers.append(WebSocketScript(frame(event(len(servers)))))
            return servers[-1]

        events = self.listen(serve)
        self.assertEqual(self.successResultOf(self.next(events)).metadata["value"], "0")
        for number in (1, 2):
            waiting = self.next(events)
            self.endpoint.open_ends()[0].other.loseConnection()
            settle(self.clock)
            self.assertNoResult(waiting)
            self.clock.advance(LONG)
            settle(self.clock)
            self.assertIsInstance(self.successResultOf(waiting), Lost)
            received = self.successResultOf(self.next(events))
            self.assertEqual(received.metadata["value"], str(number))
        self.close(events)

    def test_since(self) -> None:
        """A new connection asks for what came after the last event."""
        servers: list[WebSocketScript] = []

        def serve() -> WebSocketScript:
            header = "X-Devlxd-Timestamp: 2025-01-01T00:00:00+00:00\r\n"
            data = frame(event(1)) if len(servers) == 1 else b""
            servers.append(WebSocketScript(data, header))
            return servers[-1]

        events = self.listen(serve, types=["config"])
        waiting = self.next(events)
        self.restart()
        self.assertEqual(self.successResultOf(waiting).type, "config")
        waiting = self.next(events)
        self.restart()
        self.assertNoResult(waiting)
        asked = [server.received.split(b" ")[1] for server in servers]
        self.assertEqual(
            asked,
            [
                b"/1.0/events?type=config",
                b"/1.0/events?type=config&since=2025-01-01T00%3A00%3A00%2B00%3A00",
                b"/1.0/events?type=config&since=2026-01-01T00%3A00%3A01Z",
            ],
        )
        waiting.cancel()
        self.assertIsInstance(self.result_of(waiting), CancelledError)

    def test_upgrade(self) -> None:
        """The request names the websocket as LXD 5.0 does, which compares exactly."""
        script = WebSocketScript(frame(event(1)))
        waiting = self.next(self.listen(lambda: script))
        settle(self.clock)
        self.assertIsInstance(self.result_of(waiting), Event)
        self.assertIn(b"\r\nUpgrade: websocket\r\n", script.received)

    def test_patience(self) -> None:
        """While there is no server, a listener tries again, at least every 10 s."""
        events = self.listen(WebSocketScript)
        waiting = self.next(events)
        self.endpoint.refusal = ConnectError(2)
        self.endpoint.open_ends()[0].other.loseConnection()
        settle(self.clock)
        for _ in range(20):
            self.clock.advance(LONG)
            settle(self.clock)
            self.assertNoResult(waiting)
        self.endpoint.refusal = None
        self.clock.advance(LONG)
        settle(self.clock)
        self.assertIsInstance(self.successResultOf(waiting), Lost)
        self.close(events)

    def test_close_frame(self) -> None:
        """A server that ends the websocket is connected to again."""
        events = self.listen(lambda: WebSocketScript(frame(b"\x03\xe8", opcode=8)))
        waiting = self.next(events)
        self.assertNoResult(waiting)
        self.assertEqual(self.endpoint.open_ends(), [])
        self.clock.advance(LONG)
        settle(self.clock)
        self.assertIsInstance(self.successResultOf(waiting), Lost)
        self.close(events)

    def test_only_accepts(self) -> None:
        """A server that ends each connection is asked less and less often."""
        events = self.listen(lambda: WebSocketScript(frame(b"\x03\xe8", opcode=8)))
        waiting = self.next(events)
        for _ in range(600):
            self.clock.advance(0.1)
            settle(self.clock)
            if waiting.called:
                self.assertIsInstance(self.successResultOf(waiting), Lost)
                waiting = self.next(events)
        self.assertLess(len(self.endpoint.ends), 25)
        waiting.cancel()
        self.assertIsInstance(self.result_of(waiting), CancelledError)

    def test_fragments(self) -> None:
        """An event may be in several frames, and among pings."""
        text = event(1, 5000)
        data = (
            frame(text[:9], is_last=False)
            + frame(b"keepalive", opcode=9)
            + frame(text[9:], opcode=0)
        )
        server = WebSocketScript(data)
        events = self.listen(lambda: server)
        received = self.successResultOf(self.next(events))
        self.assertEqual(received.metadata["old_value"], "x" * 5000)
        self.assertIn(b"\x8a\x89", server.received)
        self.close(events)

    def test_long_event(self) -> None:
        """An event may be as long as a document."""
        data = frame(event(1, 16 * 1024 * 1024))
        events = self.listen(lambda: WebSocketScript(data))
        received = self.successResultOf(self.next(events))
        self.assertEqual(len(received.metadata["old_value"]), 16 * 1024 * 1024)
        self.close(events)

    def test_slow_consumer(self) -> None:
        """What a slow listener has not asked for stays with the server."""
        data = frame(event(1, 1000)) * 10_000
        events = self.listen(lambda: WebSocketScript(data))
        for _ in range(3):
            self.successResultOf(self.next(events))
            self.assertGreater(self.endpoint.ends[0].held(), len(data) - SLACK)
        for _ in range(9_997):
            self.successResultOf(self.next(events))
        self.assertEqual(self.endpoint.ends[0].held(), 0)
        self.close(events)

    def test_order(self) -> None:
        """Events of one connection are received in order, each once."""
        data = b"".join(frame(event(number)) for number in range(60))
        events = self.listen(lambda: WebSocketScript(data))
        values = [self.successResultOf(self.next(events)) for _ in range(60)]
        self.assertEqual(
            [e.metadata["value"] for e in values], list(map(str, range(60)))
        )
        self.close(events)

    def test_collected(self) -> None:
        """An iterator that is no longer used closes its connection."""
        events = self.listen(lambda: WebSocketScript(frame(event(1))))
        self.successResultOf(self.next(events))
        self.assertEqual(len(self.endpoint.open_ends()), 1)
        del events
        self.assert_clean()

    def test_violations(self) -> None:
        """What is no event, or violates the protocol, is a `ProtocolError`."""
        for data in (
            frame(b"garbage"),
            frame(b"[]"),
            frame(b"\xff"),
            frame(b'{"type":"config","timestamp":"\xc3\xa9","metadata":{}}'),
            b"\xff" * 10,
            frame(event(1), opcode=3),
            b"\x81\x7f" + (1 << 40).to_bytes(8, "big"),
            frame(b"", is_last=False) + frame(b"", 0, False) * MAX_FRAMES,
        ):
            events = self.listen(lambda data=data: WebSocketScript(data))  # type: ignore[misc] # mypy cannot infer its type
            error = self.result_of(self.next(events))
            self.assertIsInstance(error, ProtocolError, data[:50])

    def test_pings_without_end(self) -> None:
        """A server that sends pings, and reads no pongs, does not fill the memory."""
        server = _Pinging(b"", frame(b"x" * 125, opcode=9))
        events = self.listen(lambda: server)
        waiting = self.next(events)
        self.assertLess(server.sent, 6 * HELD)
        self.assertLess(self.endpoint.ends[0].other.held(), 2 * HELD)
        waiting.cancel()
        self.failureResultOf(waiting)
        self.endpoint.ends[0].other.loseConnection()
        self.assert_clean()

    @settings(deadline=None, max_examples=200)
    @given(data=st.binary(max_size=300))
    def test_any_frames(self, data: bytes) -> None:
        """Any bytes on a websocket are events, or a `GuestError`; nothing is logged."""
        with capturedLogs() as logs:
            waiting = self.next(self.listen(lambda: WebSocketScript(data)))
            waiting.cancel()
            self.result_of(waiting)
        self.assertEqual(logs, [])


class _Pinging(Endless):
    """A server that sends pings, and does not read."""

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        assert self.transport is not None
        self._beginning = accepting(data)
        super().dataReceived(data)
        self.transport.pauseProducing()  # type: ignore[attr-defined] # of the fake
