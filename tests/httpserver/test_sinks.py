"""Tests of the sinks of the HTTP server, and of `RecordingSink`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from devlxd import fast_paths
from devlxd.containers.memory_store import MemoryStore
from devlxd.fast_paths import FastPath
from devlxd.httpserver.body_message_sink import BodyMessageSink
from devlxd.httpserver.body_sink import BodySink
from devlxd.httpserver.file_sink import FileSink
from devlxd.httpserver.prompt_transport import PromptTransport
from devlxd.httpserver.responses import MessageResponse, StreamResponse
from devlxd.httpserver.websocket import CLOSE_NORMAL, WebSocketSink
from devlxd.interfaces import ISink, IStream
from devlxd.model import Container, Limits
from devlxd.testing import (
    GuestConnection,
    MemoryDevLXDReactor,
    RecordingSink,
    site_for,
)
from devlxd.testing.contracts import FileSinkContract, SinkContract
from devlxd.testing.contracts.sinks import DATA
from tests.guestapi.test_event_streams import CLOSE, HANDSHAKE, chunks, frames
from tests.httpserver.sockets import SocketClient

GET = b"GET /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n"


@implementer(IStream)
class SilentStream:
    """A stream that writes nothing; the test writes to its sink."""

    sink: ISink

    def start(self, sink: ISink) -> None:
        """See `IStream.start`."""
        self.sink = sink

    def pause(self) -> None:
        """See `IStream.pause`."""

    def resume(self) -> None:
        """See `IStream.resume`."""

    def close(self) -> None:
        """See `IStream.close`."""


class ServedSinkContract(SinkContract):
    """A base class for tests of a sink that writes to a connection.

    :ivar kind: the expected class of the sink.
    :ivar request: the request to which the sink responds.
    """

    kind: type
    request = GET

    def response(self, stream: IStream) -> StreamResponse | MessageResponse:
        """Return the response whose body is ``stream``; default: of messages."""
        return MessageResponse((), (), stream)

    def make_sink(self) -> ISink:
        """See `SinkContract.make_sink`."""
        site = site_for(MemoryStore([Container("c1")]), "c1")
        stream = SilentStream()
        response = self.response(stream)
        self.patch(site.server.handler, "respond", lambda *_: response)
        self.guest = GuestConnection(site)
        self.data = self.guest.send(self.request)
        self.assertIsInstance(stream.sink, self.kind)
        return stream.sink

    def body(self) -> bytes:
        """Return the data that the client has received after the head."""
        self.data += self.guest.receive()
        return self.data.partition(b"\r\n\r\n")[2]

    def is_disconnected(self) -> bool:
        """Return whether the connection was aborted."""
        return bool(self.guest.transport.disconnected)

    def is_ended(self) -> bool:
        """See `SinkContract.is_ended`."""
        return self.is_finished() or self.is_disconnected()


class BodySinkTests(ServedSinkContract, SynchronousTestCase):
    """`BodySink`, with a body whose length is announced."""

    kind = BodySink
    request = GET.replace(b"Host: x", b"Host: x\r\nConnection: close")

    def response(self, stream: IStream) -> StreamResponse:
        """See `ServedSinkContract.response`."""
        length = b"%d" % len(b"".join(DATA))
        return StreamResponse(200, ((b"Content-Length", length),), stream)

    def received(self) -> bytes:
        """See `SinkContract.received`."""
        return self.body()

    def is_finished(self) -> bool:
        """See `SinkContract.is_finished`: the connection is closed, not aborted."""
        return self.guest.transport.disconnecting and not self.is_disconnected()


class FileSinkTests(FileSinkContract, SynchronousTestCase):
    """`FileSink`, with a real socket."""

    def make_sink(self) -> ISink:
        """See `SinkContract.make_sink`."""
        self.patch(fast_paths, "enabled", frozenset(FastPath))
        site = site_for(MemoryStore([Container("c1")]), "c1")
        stream = SilentStream()
        length = b"%d" % len(b"".join(DATA))
        response = StreamResponse(200, ((b"Content-Length", length),), stream)
        self.patch(site.server.handler, "respond", lambda *_: response)
        self.guest = SocketClient(site, PromptTransport)
        self.addCleanup(self.guest.disconnect)
        self.guest.send(BodySinkTests.request)
        self.assertIsInstance(stream.sink, FileSink)
        stream.sink.write(b"")
        self.data = self.guest.send()
        self.reactor = site.server.reactor
        return stream.sink

    def test_stalled_after_head(self) -> None:
        """A client that reads the head, which was queued, and no file is aborted."""
        assert isinstance(self.sink, FileSink)
        assert isinstance(self.reactor, MemoryDevLXDReactor)
        self.send(0, 1)
        # As the transport calls them if much was queued, and is sent now.
        self.sink.pauseProducing()
        self.sink.resumeProducing()
        self.reactor.advance(Limits().stall_timeout + 1)
        self.assertTrue(self.is_ended())

    def received(self) -> bytes:
        """See `SinkContract.received`."""
        self.data += self.guest.send()
        return self.data.partition(b"\r\n\r\n")[2]

    def is_ended(self) -> bool:
        """See `SinkContract.is_ended`: the connection is closed."""
        self.received()
        return self.guest.transport is None

    def is_finished(self) -> bool:
        """See `SinkContract.is_finished`: all of the announced data is received."""
        return self.is_ended() and self.received() == b"".join(DATA)


class BodyMessageSinkTests(ServedSinkContract, SynchronousTestCase):
    """`BodyMessageSink`, with a chunked body."""

    kind = BodyMessageSink

    def received(self) -> bytes:
        """See `SinkContract.received`."""
        return b"".join(chunks(self.body()))

    def is_finished(self) -> bool:
        """See `SinkContract.is_finished`: the last chunk is empty."""
        return self.body().endswith(b"0\r\n\r\n")


class WebSocketSinkTests(ServedSinkContract, SynchronousTestCase):
    """`WebSocketSink`."""

    kind = WebSocketSink
    request = HANDSHAKE % b""

    def received(self) -> bytes:
        """See `SinkContract.received`."""
        return b"".join(p for opcode, p in frames(self.body()) if opcode != CLOSE)

    def closed_with(self) -> list[int]:
        """Return the codes of the close frames."""
        return [
            int.from_bytes(payload[:2], "big")
            for opcode, payload in frames(self.body())
            if opcode == CLOSE
        ]

    def is_finished(self) -> bool:
        """See `SinkContract.is_finished`."""
        return self.closed_with() == [CLOSE_NORMAL]

    def is_ended(self) -> bool:
        """See `SinkContract.is_ended`: after a close frame, or an abort."""
        return bool(self.closed_with()) or self.is_disconnected()


class RecordingSinkTests(SinkContract, SynchronousTestCase):
    """`RecordingSink`."""

    def make_sink(self) -> ISink:
        """See `SinkContract.make_sink`."""
        self.recording = RecordingSink()
        return self.recording

    def received(self) -> bytes:
        """See `SinkContract.received`."""
        return self.recording.data()

    def is_finished(self) -> bool:
        """See `SinkContract.is_finished`."""
        return self.recording.how_ended() == ["finish"]

    def is_ended(self) -> bool:
        """See `SinkContract.is_ended`."""
        return bool(self.recording.ends)
