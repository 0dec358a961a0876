"""Tests of `devlxd.httpserver` with a handler that is not the guest API.

A caller is the name of a user. There are no containers and no dialects.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.httpserver.registry import ConnectionRegistry
from devlxd.httpserver.responses import (
    MessageResponse,
    PendingStream,
    Response,
    ResponseError,
    StreamResponse,
    refusal,
)
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import (
    IAdmission,
    IConnection,
    IConnections,
    IRequestHandler,
    ISink,
    IStream,
)
from devlxd.model import JSONValue
from devlxd.testing import GuestConnection, MemoryDevLXDReactor
from devlxd.turns import Turns

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@implementer(IAdmission)
class UserAdmission:
    """Every caller is the user ``alice``."""

    def identify(self, transport: ITransport, is_retry: bool = False) -> str:
        """See `IAdmission.identify`."""
        return "alice"

    def owner(self, caller: object | None) -> Hashable:
        """See `IAdmission.owner`."""
        return str(caller)

    def refused(self, owner: Hashable) -> None:
        """See `IAdmission.refused`."""

    def record_of(self, caller: object) -> dict[str, JSONValue]:
        """See `IAdmission.record_of`."""
        return {"user": str(caller)}

    def recorded_owner(self, record: Mapping[str, JSONValue]) -> Hashable:
        """See `IAdmission.recorded_owner`."""
        return str(record["user"])

    def recognize(
        self, transport: ITransport, record: Mapping[str, JSONValue]
    ) -> str | None:
        """See `IAdmission.recognize`."""
        return "alice" if record["user"] == "alice" else None

    def when_loaded(self) -> None:
        """See `IAdmission.when_loaded`: every caller is recognized immediately."""

    def when_ready(self) -> None:
        """See `IAdmission.when_ready`: every caller is identified immediately."""


@implementer(IRequestHandler)
class OneResponseHandler:
    """A handler that has the same response for every request.

    :ivar response: the response; if it is an exception, it is raised.
    :ivar calls: for each request, the caller and the path; for each response that
        begins, also the status code.
    """

    response: object = Response(200, (), b"")

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def start(self, connections: IConnections) -> None:
        """See `IRequestHandler.start`."""

    def stop(self) -> None:
        """See `IRequestHandler.stop`."""

    def respond(self, request: Request, caller: object | None) -> object:
        """See `IRequestHandler.respond`."""
        self.calls.append((caller, request.path))
        if isinstance(self.response, Exception):
            raise self.response
        return self.response

    def kept(self, path: bytes, caller: object | None) -> None:
        """See `IRequestHandler.kept`: no response is kept."""

    def kept_sent(self, path: bytes, caller: object | None, began: float) -> None:
        """See `IRequestHandler.kept_sent`; it is never called."""

    def responded(self, request: Request, caller: object | None, code: int) -> None:
        """See `IRequestHandler.responded`."""
        self.calls.append((caller, request.path, code))


@implementer(IStream)
class WordStream:
    """A stream of two words.

    :param is_endless: whether the words are messages, which are written when the
        stream is resumed; otherwise they are a body.
    """

    is_closed = False

    def __init__(self, is_endless: bool) -> None:
        self._is_endless = is_endless

    def start(self, sink: ISink) -> None:
        """See `IStream.start`."""
        self.sink = sink
        if not self._is_endless:
            self._write()
            sink.finish()

    def pause(self) -> None:
        """See `IStream.pause`."""

    def resume(self) -> None:
        """See `IStream.resume`."""
        if self._is_endless:
            self._write()

    def _write(self) -> None:
        for word in (b"hello\n", b"world\n"):
            self.sink.write(word)

    def close(self) -> None:
        """See `IStream.close`."""
        self.is_closed = True


class OtherHandlerTests(SynchronousTestCase):
    """The server serves any handler, and any kind of caller."""

    def setUp(self) -> None:
        self.handler = OneResponseHandler()
        reactor = MemoryDevLXDReactor()
        registry: ConnectionRegistry[IConnection] = ConnectionRegistry(
            Turns(reactor), reactor, max_connections=lambda: 10
        )
        self.site = DevLXDSite(self.handler, UserAdmission(), reactor, registry)
        self.client = GuestConnection(self.site)

    def get(self, response: object, request: bytes = b"") -> tuple[bytes, bytes]:
        """Send a request; return the head and the body that are received."""
        self.handler.response = response
        received = self.client.send(request or b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = received.partition(b"\r\n\r\n")
        return head, body

    def check_notified(self, code: int, path: bytes = b"/x") -> None:
        """Check that the handler was called for a request, and for its status."""
        calls = [("alice", path), ("alice", path, code)]
        self.assertEqual(self.handler.calls, calls)

    def test_interfaces(self) -> None:
        """The classes of this module provide the interfaces."""
        self.assertTrue(verifyObject(IAdmission, UserAdmission()))
        self.assertTrue(verifyObject(IRequestHandler, self.handler))
        self.assertTrue(verifyObject(IStream, WordStream(is_endless=True)))

    def test_whole(self) -> None:
        """A `Response` is sent with its length, on a persistent connection."""
        head, body = self.get(Response(201, ((b"X-User", b"alice"),), b"made"))
        self.assertTrue(head.startswith(b"HTTP/1.1 201 Created\r\n"), head)
        self.assertIn(b"\r\nX-User: alice\r\nContent-Length: 4\r\n", head)
        self.assertEqual(body, b"made")
        self.assertFalse(self.client.transport.disconnecting)
        self.check_notified(201)

    def test_closes(self) -> None:
        """A response may close the connection."""
        head, _ = self.get(Response(200, (), b"bye", closes=True))
        self.assertIn(b"\r\nConnection: close\r\n", head)
        self.assertTrue(self.client.transport.disconnecting)

    def test_stream(self) -> None:
        """The body of a response may be a stream, which is closed at its end."""
        stream = WordStream(is_endless=False)
        length = ((b"Content-Length", b"12"),)
        head, body = self.get(StreamResponse(200, length, stream))
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), head)
        self.assertEqual(body, b"hello\nworld\n")
        self.assertTrue(stream.is_closed)
        self.check_notified(200)

    def test_late(self) -> None:
        """The response of a Deferred is sent when the Deferred fires."""
        late: Deferred[Response] = Deferred()
        self.assertEqual(self.get(late), (b"", b""))
        self.assertEqual(self.handler.calls, [("alice", b"/x")])
        late.callback(Response(200, (), b"at last"))
        self.assertTrue(self.client.receive().endswith(b"\r\n\r\nat last"))
        self.check_notified(200)

    def test_late_disconnected(self) -> None:
        """The Deferred of a response is cancelled if the client disconnects."""
        cancelled: list[object] = []
        self.get(Deferred(cancelled.append))
        self.client.disconnect()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.handler.calls, [("alice", b"/x")])

    def test_late_sent(self) -> None:
        """The Deferred of a response that was sent is not cancelled."""
        late: Deferred[Response] = Deferred(lambda _: self.fail("cancelled"))
        self.get(late)
        late.callback(Response(200, (), b""))
        self.client.disconnect()

    def test_pending_stream(self) -> None:
        """A pending stream is not cancelled, but closed after a disconnection."""
        late: Deferred[Response | StreamResponse] = Deferred()
        self.get(PendingStream(late))
        self.client.disconnect()
        self.assertFalse(late.called)
        stream = WordStream(is_endless=False)
        late.callback(StreamResponse(200, (), stream))
        self.assertTrue(stream.is_closed)
        self.assertEqual(self.handler.calls, [("alice", b"/x")])

    def test_error(self) -> None:
        """A `ResponseError` replaces the response, even that of a Deferred."""
        error = ResponseError(refusal(418, "only tea"))
        late: Deferred[Response] = Deferred()
        late.errback(error)
        for response in (error, late):
            self.handler.calls.clear()
            head, body = self.get(response)
            self.assertTrue(head.startswith(b"HTTP/1.1 418 "), head)
            self.assertEqual(body, b"only tea\n")
            self.check_notified(418)

    def test_failure(self) -> None:
        """Any other exception is logged, with the owner, and the response is a 500."""
        with capturedLogs() as events:
            head, _ = self.get(ZeroDivisionError())
        self.assertTrue(head.startswith(b"HTTP/1.1 500 "), head)
        self.assertEqual([event["owner"] for event in events], ["alice"])
        self.check_notified(500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_malformed(self) -> None:
        """The handler of a refused request is only notified of the status."""
        head, _ = self.get(Response(200, (), b""), b"GET /x HTTP/1.1\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 400 "), head)
        self.assertEqual(self.handler.calls, [("alice", b"/x", 400)])

    def test_messages_body(self) -> None:
        """Messages are the body of a response until their stream ends."""
        stream = WordStream(is_endless=True)
        text = ((b"Content-Type", b"text/plain"),)
        head, body = self.get(MessageResponse((), text, stream))
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), head)
        self.assertIn(b"\r\nContent-Type: text/plain\r\n", head)
        self.assertEqual(body, b"6\r\nhello\n\r\n6\r\nworld\n\r\n")
        stream.sink.finish()
        self.assertEqual(self.client.receive(), b"0\r\n\r\n")
        self.assertTrue(stream.is_closed)
        self.check_notified(200)

    def test_messages_websocket(self) -> None:
        """Messages are sent over a websocket to a client that requests one."""
        stream = WordStream(is_endless=True)
        response = MessageResponse(((b"X-User", b"alice"),), (), stream)
        head, body = self.get(response, HANDSHAKE)
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "), head)
        self.assertIn(b"\r\nX-User: alice", head)
        self.assertEqual(body, b"\x81\x06hello\n\x81\x06world\n")
        stream.sink.finish("bye")
        self.assertEqual(self.client.receive(), b"\x88\x05\x03\xe8bye")
        self.assertTrue(stream.is_closed)
        self.check_notified(101, b"/")

    def test_failing_messages(self) -> None:
        """If a stream fails when its response has begun, the connection is aborted."""
        stream = WordStream(is_endless=True)
        self.patch(stream, "resume", lambda: 1 // 0)
        _, body = self.get(MessageResponse((), (), stream))
        self.assertEqual(body, b"")
        self.assertTrue(self.client.transport.disconnected)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_bad_handshake(self) -> None:
        """A handshake that is not valid is refused, and the stream is closed."""
        stream = WordStream(is_endless=True)
        request = HANDSHAKE.replace(b"Version: 13", b"Version: 8")
        head, _ = self.get(MessageResponse((), (), stream), request)
        self.assertTrue(head.startswith(b"HTTP/1.1 400 "), head)
        self.assertTrue(stream.is_closed)
        self.check_notified(400, b"/")
