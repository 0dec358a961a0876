"""Tests of the private APIs of Twisted and autobahn that the server depends on."""

from __future__ import annotations

import re
from pathlib import Path

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http

from devlxd.httpserver import autobahn_private_apis, twisted_private_apis
from devlxd.httpserver.autobahn_private_apis import (
    NullLogger,
    WebSocketBase,
    websocket_factory,
)
from devlxd.httpserver.twisted_private_apis import HTTPChannelBase

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class PendingRequest(http.Request):
    """A request to which the test responds."""

    def process(self) -> None:
        """See `Request.process`: do nothing yet."""


class RecordingChannel(HTTPChannelBase):
    """A channel that records the calls of the hooks.

    :ivar calls: the names of hooks that were called.
    """

    requestFactory = PendingRequest

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def refuse_bad_request(self) -> None:
        """See `HTTPChannelBase.refuse_bad_request`."""
        self.calls.append("refuse_bad_request")
        super().refuse_bad_request()

    def accept_body(self) -> None:
        """See `HTTPChannelBase.accept_body`."""
        self.calls.append("accept_body")
        super().accept_body()


class TwistedTests(SynchronousTestCase):
    """The private names of `HTTPChannel`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.channel = RecordingChannel()
        self.patch(self.channel, "callLater", self.clock.callLater)
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)

    def test_busy(self) -> None:
        """A channel is busy from the end of a request to the end of its response."""
        self.assertFalse(self.channel.is_busy)
        self.channel.dataReceived(GET)
        self.assertTrue(self.channel.is_busy)
        self.channel.requests[0].finish()
        self.assertFalse(self.channel.is_busy)

    def test_unparsed(self) -> None:
        """Data that is not parsed yet is available as `unparsed`."""
        self.channel.dataReceived(b"GET / HT")
        self.assertEqual(self.channel.unparsed, b"GET / HT")

    def test_transport_full(self) -> None:
        """A channel knows whether its transport accepts more data."""
        self.channel.dataReceived(GET)
        self.assertFalse(self.channel.is_transport_full)
        self.channel.pauseProducing()
        self.assertTrue(self.channel.is_transport_full)
        self.channel.resumeProducing()
        self.assertFalse(self.channel.is_transport_full)

    def test_reading(self) -> None:
        """Reading from the transport can be paused and resumed."""
        self.channel.pause_reading()
        self.assertEqual(self.transport.producerState, "paused")
        self.channel.resume_reading()
        self.assertEqual(self.transport.producerState, "producing")

    def test_abort_call(self) -> None:
        """The call that aborts a connection is cancelled when it is closed."""
        self.assertIsNone(self.channel.abort_call)
        self.channel.setTimeout(None)
        self.channel.abort_call = self.clock.callLater(5, lambda: None)
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_release(self) -> None:
        """References that form cycles can be dropped."""
        self.channel.dataReceived(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
        )
        self.assertIsNotNone(self.channel._transferDecoder)
        self.channel.release_references()
        self.assertIsNone(self.channel._transferDecoder)
        self.assertIsNone(self.channel._requestProducer)

    def test_bad_request(self) -> None:
        """Twisted calls the hook for data that is not HTTP."""
        self.channel.dataReceived(b"nonsense\r\n\r\n")
        self.assertEqual(self.channel.calls, ["refuse_bad_request"])
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 400 "))

    def test_continue(self) -> None:
        """Twisted calls the hook when a client waits for a 100 with its body."""
        self.channel.dataReceived(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        self.assertEqual(self.channel.calls, ["accept_body"])
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 100 "))

    def test_listed(self) -> None:
        """Every private name that is used is listed, and exists in Twisted."""
        text = Path(twisted_private_apis.__file__).read_text()
        docstring = twisted_private_apis.__doc__ or ""
        used = set(re.findall(r"(?:self|super\(\))\.(_[a-zA-Z]\w*)", text))
        for name in used:
            self.assertIn(f"``{name}``", docstring)
            self.assertTrue(hasattr(self.channel, name), name)


class RecordingWebSocket(WebSocketBase):
    """A websocket that records the calls of the hooks."""

    def __init__(self, factory: WebSocketServerFactory) -> None:
        super().__init__(factory, {"X-Header": "value"})
        self.calls: list[object] = []

    def opened(self) -> None:
        """See `WebSocketBase.opened`."""
        self.calls.append("opened")

    def received(self, size: int) -> None:
        """See `WebSocketBase.received`."""
        self.calls.append(size)

    def pinged(self, payload: bytes) -> None:
        """See `WebSocketBase.pinged`."""
        self.calls.append(payload)

    def ponged(self) -> None:
        """See `WebSocketBase.ponged`."""
        self.calls.append("ponged")

    def closing(self) -> None:
        """See `WebSocketBase.closing`."""
        self.calls.append("closing")


class AutobahnTests(SynchronousTestCase):
    """The names of autobahn beyond its documented API."""

    def setUp(self) -> None:
        self.websocket = RecordingWebSocket(websocket_factory(Clock()))
        self.transport = StringTransport()
        self.websocket.makeConnection(self.transport)
        self.websocket.dataReceived(HANDSHAKE)

    def receive(self, opcode: int, payload: bytes, fin: bool = True) -> list[object]:
        """Receive a frame with a mask of zeros; return the hooks that it called."""
        self.websocket.calls.clear()
        head = bytes((opcode | fin << 7, 0x80 | len(payload), 0, 0, 0, 0))
        self.websocket.dataReceived(head + payload)
        return list(self.websocket.calls)

    def test_handshake(self) -> None:
        """The handshake is accepted, with further headers."""
        response = self.transport.value()
        self.assertTrue(response.startswith(b"HTTP/1.1 101 "))
        self.assertIn(b"X-Header: value\r\n", response)
        self.assertEqual(self.websocket.calls, ["opened"])

    def test_frames(self) -> None:
        """The hook is called for each frame, with the size of the message so far."""
        self.assertEqual(self.receive(1, b"abc", fin=False), [3])
        self.assertEqual(self.receive(0, b"defg"), [7])
        self.assertEqual(self.receive(1, b"h"), [1])

    def test_control_frames(self) -> None:
        """The hooks are called for pings and pongs."""
        self.assertEqual(self.receive(9, b"are you there"), [b"are you there"])
        self.assertEqual(self.receive(10, b""), ["ponged"])

    def test_close(self) -> None:
        """The hook is called before a close frame is sent, without aborting."""
        self.transport.clear()
        self.websocket.sendClose(1000, "bye")
        self.assertEqual(self.websocket.calls, ["opened", "closing"])
        self.assertEqual(self.transport.value(), b"\x88\x05\x03\xe8bye")
        self.assertFalse(self.transport.disconnected)

    def test_violation(self) -> None:
        """After a violation of the protocol the client receives a close frame."""
        self.transport.clear()
        self.assertIn("closing", self.receive(3, b""))
        self.assertTrue(self.transport.value().startswith(b"\x88"))
        self.assertFalse(self.transport.disconnected)

    def test_frame_sent(self) -> None:
        """A message can be sent frame by frame."""
        self.transport.clear()
        self.websocket.sendFrame(1, b"a", False)
        self.websocket.sendFrame(0, b"b", True)
        self.assertEqual(self.transport.value(), b"\x01\x01a\x80\x01b")

    def test_freed(self) -> None:
        """The references to a closed websocket are dropped."""
        self.assertIsNotNone(self.websocket.is_open)
        self.websocket.connectionLost()
        self.assertIsNone(self.websocket.is_open)
        self.assertIsNone(self.websocket.is_closed)

    def test_log(self) -> None:
        """Nothing that a client sends is logged by autobahn."""
        self.assertIsInstance(self.websocket.log, NullLogger)
        self.assertIsInstance(self.websocket.factory.log, NullLogger)
        self.websocket.log.warn("{text}", text="anything")

    def test_listed(self) -> None:
        """Every name that is used is listed, and exists in autobahn."""
        docstring = autobahn_private_apis.__doc__ or ""
        for name in ("_closeConnection", "sendFrame", "sendCloseFrame"):
            self.assertIn(f"``{name}``", docstring)
            self.assertTrue(hasattr(WebSocketServerProtocol, name), name)


class OtherModulesTests(SynchronousTestCase):
    """The other modules of the package."""

    def test_no_private_names(self) -> None:
        """No other module of the package uses a private name of `HTTPChannel`."""
        names = re.findall(r"``(_\w+)``", twisted_private_apis.__doc__ or "")
        self.assertGreaterEqual(len(names), 9)
        for path in Path(twisted_private_apis.__file__).parent.glob("*.py"):
            if not path.stem.endswith("_private_apis"):
                for name in names:
                    self.assertNotRegex(path.read_text(), rf"\.{name}\b", path)
