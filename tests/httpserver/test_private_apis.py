"""Tests of the private APIs of Twisted and autobahn that the server depends on."""

from __future__ import annotations

import ast
import inspect
import os
import re
import socket
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.unix import Server
from twisted.python.failure import Failure
from twisted.python.modules import getModule
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http
from twisted.web.server import Request, Site
from zope.interface import implementer

from devlxd.httpserver import autobahn_private_apis, twisted_private_apis
from devlxd.httpserver.autobahn_private_apis import (
    MAX_FRAMES,
    NullLogger,
    WebSocketBase,
    websocket_factory,
)
from devlxd.httpserver.twisted_private_apis import HTTPChannelBase, TransportBase
from devlxd.socket_options import refuse_descriptors
from devlxd.testing import MemoryDevLXDReactor

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def names_in(module: ModuleType) -> set[str]:
    """Return the names in the first column of the table of a docstring."""
    lines = (module.__doc__ or "").splitlines()
    rule, *_ = (line for line in lines if line.startswith("="))
    column = "\n".join(line[: rule.index(" ")] for line in lines)
    return set(re.findall(r"``(\w+)``", column))


class PendingRequest(http.Request):
    """A request to which the test responds."""

    def process(self) -> None:
        """See `Request.process`: do nothing yet."""


@implementer(IFileDescriptorReceiver)
class DescriptorReceiver(Protocol):
    """A protocol that keeps what it receives."""

    def __init__(self) -> None:
        self.data = b""
        self.descriptors: list[int] = []

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        self.data += data

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """See `IFileDescriptorReceiver.fileDescriptorReceived`."""
        self.descriptors.append(descriptor)


class RecordingChannel(HTTPChannelBase):
    """A channel that records the calls of the hooks of `HTTPChannelBase`.

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
        """The call that would abort a connection is cancelled after a close."""
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
        """Twisted calls the hook for ``Expect: 100-continue``."""
        self.channel.dataReceived(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        self.assertEqual(self.channel.calls, ["accept_body"])
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 100 "))

    def test_body_length(self) -> None:
        """The length of the body is known once the headers are parsed."""
        head = b"POST / HTTP/1.1\r\nHost: x\r\n"
        self.channel.dataReceived(head + b"Content-Length: 5\r\n\r\n")
        self.assertEqual(self.channel.body_length, 5)
        self.channel.dataReceived(b"abcde")
        self.channel.requests[0].finish()
        self.channel.dataReceived(head + b"Transfer-Encoding: chunked\r\n\r\n")
        self.assertIsNone(self.channel.body_length)

    def connect(self) -> tuple[Server, socket.socket]:
        """Give the channel a transport with a socket; return both ends."""
        ours, other = socket.socketpair()
        self.addCleanup(other.close)
        ours.setblocking(False)
        other.setblocking(False)
        transport = Server(ours, self.channel, None, None, 0, MemoryDevLXDReactor())
        self.channel.transport = transport
        self.addCleanup(transport.connectionLost, Failure(ConnectionDone()))
        return transport, other

    def test_unsent(self) -> None:
        """The unsent data is what the other end did not receive, in order."""
        transport, other = self.connect()
        written = b"".join(b"%d " % number for number in range(200_000))
        transport.write(written[:500_000])
        transport.doWrite()
        transport.doWrite()
        transport.write(written[500_000:600_000])
        transport.write(written[600_000:])
        received = other.recv(10**6)
        self.assertTrue(received)
        self.assertEqual(received + self.channel.unsent, written)

    def test_nothing_unsent(self) -> None:
        """Nothing is unsent before the first write, and when all is written."""
        transport, _ = self.connect()
        self.assertEqual(self.channel.unsent, b"")
        transport.write(b"abc")
        transport.doWrite()
        self.assertEqual(self.channel.unsent, b"")

    def test_detached(self) -> None:
        """A detached connection stays open for the other end; nothing writes to it."""
        transport, other = self.connect()
        with socket.socket(fileno=self.channel.detach()) as detached:
            transport.write(b"late")
            transport.loseConnection()
            transport.abortConnection()
            self.assertRaises(BlockingIOError, other.recv, 1)
            reactor = transport.reactor
            assert isinstance(reactor, MemoryDevLXDReactor)
            self.assertEqual(reactor.getReaders(), [])
            self.assertEqual(reactor.getWriters(), [])
            self.assertEqual(reactor.getDelayedCalls(), [])
            detached.sendall(b"a")
            self.assertEqual(other.recv(10), b"a")
        self.assertEqual(other.recv(1), b"")

    def test_limited_reads(self) -> None:
        """No more than the limit is read from the transport at a time."""
        transport, other = self.connect()
        received: list[bytes] = []
        self.patch(self.channel, "dataReceived", received.append)
        self.channel.limit_reads(3)
        other.sendall(b"abcdef")
        transport.doRead()
        self.assertEqual(received, [b"abc"])

    def test_transport(self) -> None:
        """A transport of a connection knows whether data is queued in it."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        transport = TransportBase(ours, Protocol(), MemoryDevLXDReactor())
        self.addCleanup(transport.abortConnection)
        self.assertEqual(repr(transport), "<TransportBase of Protocol>")
        self.assertFalse(transport.is_queued)
        transport.write(b"abc")
        self.assertTrue(transport.is_queued)
        transport.doWrite()
        self.assertFalse(transport.is_queued)
        self.assertEqual(theirs.recv(10), b"abc")

    def test_descriptors(self) -> None:
        """File descriptors that are sent along are received, or the kernel refuses."""
        for is_refused in (False, True):
            ours, theirs = socket.socketpair()
            self.addCleanup(theirs.close)
            if is_refused:
                refuse_descriptors(ours)
            receiver = DescriptorReceiver()
            transport = TransportBase(ours, receiver, MemoryDevLXDReactor())
            self.addCleanup(transport.abortConnection)
            if transport.may_have_descriptors:
                socket.send_fds(theirs, [b"abc"], [theirs.fileno()])
            else:
                self.assertTrue(is_refused)
                self.assertRaises(
                    OSError, socket.send_fds, theirs, [b"abc"], [theirs.fileno()]
                )
                theirs.sendall(b"abc")
            self.assertIsNone(transport.doRead())
            self.assertEqual(receiver.data, b"abc")
            count = int(transport.may_have_descriptors)
            self.assertEqual(len(receiver.descriptors), count)
            for descriptor in receiver.descriptors:
                os.close(descriptor)
            theirs.close()
            self.assertIsInstance(transport.doRead(), ConnectionDone)

    def test_is_sent(self) -> None:
        """A channel knows whether all data is sent, with a transport of ours only."""
        self.assertFalse(self.channel.is_sent)
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        transport = TransportBase(ours, self.channel, MemoryDevLXDReactor())
        self.channel.makeConnection(transport)
        self.addCleanup(self.channel.forceAbortClient)
        self.assertTrue(self.channel.is_sent)
        transport.write(b"abc")
        self.assertFalse(self.channel.is_sent)

    def test_address(self) -> None:
        """A transport knows the address to which its client has bound."""
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        # The kernel chooses an address.
        client.bind("")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("")
            listening.listen()
            client.connect(listening.getsockname())
            accepted, _ = listening.accept()
        transport = TransportBase(accepted, Protocol(), MemoryDevLXDReactor())
        self.addCleanup(transport.abortConnection)
        self.assertEqual(transport.getPeer(), UNIXAddress(client.getsockname()))

    def test_listed(self) -> None:
        """Every private name that is used is listed; all listed names exist."""
        text = Path(twisted_private_apis.__file__).read_text()
        listed = names_in(twisted_private_apis)
        used = set(re.findall(r"(?:self|super\(\))\.(_[a-zA-Z]\w*)", text))
        self.assertLessEqual(used, listed)
        transport, _ = self.connect()
        for name in listed:
            owner = transport if name in OF_TRANSPORTS else self.channel
            self.assertTrue(hasattr(owner, name), name)


class RecordingWebSocket(WebSocketBase):
    """A websocket that records the calls of the hooks of `WebSocketBase`."""

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

    def postpone(self) -> None:
        """See `WebSocketBase.postpone`."""
        self.calls.append("postponed")


class AutobahnTests(SynchronousTestCase):
    """The names of autobahn beyond its documented API."""

    def setUp(self) -> None:
        self.websocket = RecordingWebSocket(websocket_factory(Clock()))
        self.transport = StringTransport()
        self.websocket.makeConnection(self.transport)
        self.websocket.dataReceived(HANDSHAKE)

    def receive(self, opcode: int, payload: bytes, fin: bool = True) -> list[object]:
        """Receive a frame with a mask of zeros; return the recorded calls."""
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

    def test_postponed(self) -> None:
        """What is left is processed later, or handed over."""
        ping = b"\x89\x80" + bytes(4)
        self.websocket.calls.clear()
        self.websocket.dataReceived(ping * (MAX_FRAMES + 2))
        self.assertEqual(self.websocket.calls, [b""] * MAX_FRAMES + ["postponed"])
        self.assertEqual(self.websocket.unparsed, ping * 2)
        self.websocket.calls.clear()
        self.websocket.process_frames()
        self.assertEqual(self.websocket.calls, [b""] * 2)
        self.assertEqual(self.websocket.unparsed, b"")

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
        """The hook is called before a close frame; the connection stays open."""
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

    def test_unparsed(self) -> None:
        """A websocket that receives what another one has not parsed continues."""
        frames = b"".join(
            (
                b"\x01\x83abcd\x00\x01\x02",
                b"\x89\x82abcd\x00\x00",
                b"\x80\xfe\x00\x7eabcd" + b"x" * 126,
                b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00abcd" + b"x" * 65536,
                b"\x8a\x80abcd",
            )
        )
        for cut in (*range(170), len(frames) - 100, len(frames) - 1, len(frames)):
            calls = []
            unparsed = b""
            for data in (frames[:cut], frames[cut:]):
                websocket = RecordingWebSocket(websocket_factory(Clock()))
                websocket.makeConnection(StringTransport())
                websocket.dataReceived(HANDSHAKE + unparsed + data)
                unparsed = websocket.unparsed
                calls += websocket.calls
            self.assertEqual(
                [one for one in calls if not isinstance(one, int) and one != "opened"],
                [b"ab", "ponged"],
            )
            self.assertEqual(unparsed, b"")

    def test_discarded_handshake(self) -> None:
        """The response to the handshake is not sent; everything else is."""
        websocket = RecordingWebSocket(websocket_factory(Clock()))
        transport = StringTransport()
        websocket.makeConnection(transport)
        websocket.discard_handshake()
        websocket.dataReceived(HANDSHAKE)
        self.assertEqual(transport.value(), b"")
        websocket.sendPing()
        self.assertEqual(transport.value(), b"\x89\x00")

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
        """Every private name that is used is listed; all listed names exist."""
        text = Path(autobahn_private_apis.__file__).read_text()
        listed = names_in(autobahn_private_apis)
        used = set(re.findall(r"super\(\)\.(_[a-zA-Z]\w*)|def (onMessage\w*)", text))
        self.assertLessEqual({name for pair in used for name in pair if name}, listed)
        theirs = WebSocketServerProtocol()
        theirs.factory = websocket_factory(Clock())
        theirs.makeConnection(StringTransport())
        # The beginning of a ping.
        theirs.dataReceived(HANDSHAKE + b"\x89\x81abcd")
        for name in listed:
            self.assertTrue(hasattr(theirs, name), name)


#: The names that are those of transports.
OF_TRANSPORTS = {
    "bufferSize",
    "dataBuffer",
    "offset",
    "_shouldShutdown",
    "_tempDataBuffer",
    "_tempDataLen",
}

#: The listed names that are too common to be searched for.
USUAL_NAMES = {"data", "length", "log", "offset"}


def other_modules(package: str) -> Iterator[ModuleType]:
    """Return the modules of a package that do not list private names."""
    for module in getModule(package).walkModules():
        if not module.name.endswith("private_apis"):
            yield module.load()


def private_names_in(kind: type) -> set[str]:
    """Return the private names that a class of Twisted or autobahn uses."""
    names = {name for name in vars(kind) if name.startswith("_")}
    names |= set(re.findall(r"self\.(_\w+)", inspect.getsource(kind)))
    return {name for name in names if not name.startswith("__")}


class OtherModulesTests(SynchronousTestCase):
    """The other modules of devlxd."""

    def test_listed_names(self) -> None:
        """No other module of the package uses a name that is listed."""
        names = names_in(twisted_private_apis) | names_in(autobahn_private_apis)
        self.assertGreaterEqual(len(names), 20)
        for module in other_modules("devlxd.httpserver"):
            tree = ast.parse(inspect.getsource(module))
            used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            self.assertEqual(used & (names - USUAL_NAMES), set(), module)

    def test_inherited_names(self) -> None:
        """No class uses or overrides a private name that it inherits."""
        checked = set()
        for module in other_modules("devlxd"):
            for kind in vars(module).values():
                if inspect.isclass(kind) and kind.__module__ == module.__name__:
                    checked |= self.check(kind)
        self.assertLessEqual({Request, Site, WebSocketServerProtocol}, checked)

    def check(self, kind: type) -> set[type]:
        """Check one class; return its bases of Twisted and autobahn."""
        foreign = {
            base
            for base in kind.__mro__
            if base.__module__.partition(".")[0] in ("twisted", "autobahn")
        }
        if foreign:
            tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
            used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            used |= set(vars(kind))
            for base in foreign:
                self.assertEqual(used & private_names_in(base), set(), (kind, base))
        return foreign
