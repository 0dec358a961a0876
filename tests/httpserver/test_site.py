"""Tests of `devlxd.httpserver.site`, with usual and with hostile requests."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from typing import cast

from attrs import evolve, field, frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IProtocol,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.containers.memory_store import MemoryStore
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.api import GuestAPI
from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from devlxd.httpserver.grammar import MAX_PIECES
from devlxd.httpserver.registry import REQUESTS_PER_ITERATION
from devlxd.httpserver.request import MAX_LOGGED, SLICE
from devlxd.httpserver.responses import (
    MessageResponse,
    PendingStream,
    Response,
    StreamResponse,
)
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import ISink, IStoreObserver, IStream, NotInContainer
from devlxd.model import Caller, Container, Peer
from devlxd.testing import (
    GUEST,
    GuestConnection,
    MemoryIdentifier,
    MemoryPeerSource,
    site_for,
)
from tests.default_limits import (
    CLOSE_TIMEOUT,
    IDLE_TIMEOUT,
    LOADING_TIMEOUT,
    MAX_BODY,
    READ_TIMEOUT,
    REQUEST_TIMEOUT,
    limits,
)

BIG = "x" * 100_000

STORE = MemoryStore([Container("c1", {"user.a": "1", "user.big": BIG})])

GET = b"GET /1.0/config/user.a HTTP/1.1\r\nHost: x\r\n\r\n"

#: The head of a response, with the length of its body.
RESPONSE = re.compile(
    rb"HTTP/1\.[01] (\d{3}) [^\r]+\r\n(?:[A-Za-z-]+: [^\r]*\r\n)*?"
    rb"Content-Length: (\d+)\r\n(?:[A-Za-z-]+: [^\r]*\r\n)*\r\n"
)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def responses(data: bytes) -> list[tuple[int, bytes]]:
    """Parse responses; return the status and the body of each.

    :raises AssertionError: if ``data`` contains anything else.
    """
    found = []
    while data:
        if data.startswith(CONTINUE):
            data = data.removeprefix(CONTINUE)
            continue
        match = RESPONSE.match(data)
        assert match is not None, data
        end = match.end() + int(match[2])
        found.append((int(match[1]), data[match.end() : end]))
        data = data[end:]
    return found


def peer_with(pid: int) -> MemoryPeerSource:
    """Return a source of peers that all have the pid ``pid``."""
    return MemoryPeerSource(Peer(pid, 0, 0))


class WireTests(SynchronousTestCase):
    """HTTP as clients use it."""

    def setUp(self) -> None:
        self.guest = GuestConnection(site_for(STORE, "c1"))

    def test_keep_alive(self) -> None:
        """An HTTP/1.1 connection serves several requests."""
        for _ in range(3):
            self.assertEqual(responses(self.guest.send(GET)), [(200, b"1")])
        self.assertFalse(self.guest.transport.disconnecting)

    def test_close(self) -> None:
        """With ``Connection: close`` the connection is closed after the response."""
        response = self.guest.send(
            GET.replace(b"Host: x", b"Host: x\r\nConnection: close")
        )
        self.assertIn(b"Connection: close\r\n", response)
        self.assertTrue(self.guest.transport.disconnecting)

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 response ends with the connection."""
        response = self.guest.get("/1.0", version="1.0")
        self.assertTrue(response.startswith(b"HTTP/1.0 200 OK\r\n"), response)
        self.assertTrue(self.guest.transport.disconnecting)

    def test_date(self) -> None:
        """``Date`` is the wall-clock time, not the reactor's."""
        site = GuestSites(
            STORE,
            MemoryIdentifier({GUEST.pid: Caller("c1", uid=0)}),
            MemoryPeerSource(),
            Clock(),
            wall=lambda: 10**9,
        ).site(LXD)
        response = GuestConnection(site).get("/1.0")
        self.assertIn(b"\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n", response)

    def test_pipelining(self) -> None:
        """Pipelined requests are answered in order."""
        other = GET.replace(b"user.a", b"user.none")
        codes = [code for code, _ in responses(self.guest.send(GET + other + GET))]
        self.assertEqual(codes, [200, 404, 200])

    def test_byte_by_byte(self) -> None:
        """A request may arrive byte by byte."""
        data = b"".join(self.guest.send(GET[n : n + 1]) for n in range(len(GET)))
        self.assertEqual(responses(data), [(200, b"1")])

    def test_body(self) -> None:
        """A request body is ignored, whether it has a length or is chunked."""
        sized = GET.replace(b"Host: x", b"Host: x\r\nContent-Length: 3") + b"abc"
        chunked = GET.replace(b"Host: x", b"Host: x\r\nTransfer-Encoding: chunked")
        data = sized + chunked + b"3\r\nabc\r\n0\r\n\r\n" + GET
        self.assertEqual(responses(self.guest.send(data)), [(200, b"1")] * 3)

    def test_body_and_close(self) -> None:
        """A request with a body may be the last one."""
        head = b"Host: x\r\nConnection: close\r\nContent-Length: 1"
        data = GET.replace(b"Host: x", head) + b"abc"
        self.assertEqual(responses(self.guest.send(data)), [(200, b"1")])
        self.assertTrue(self.guest.transport.disconnecting)

    def test_host(self) -> None:
        """HTTP/1.1 needs exactly one ``Host``, HTTP/1.0 at most one (RFC 9112, 3.2)."""
        for version, hosts, code in (
            (b"1.1", b"", 400),
            (b"1.1", b"Host:\r\n", 200),
            (b"1.1", b"Host: a\r\nHost: a\r\n", 400),
            (b"1.0", b"", 200),
            (b"1.0", b"Host: a\r\nHost: b\r\n", 400),
        ):
            guest = GuestConnection(site_for(STORE, "c1"))
            response = guest.send(b"GET /1.0 HTTP/%b\r\n%b\r\n" % (version, hosts))
            self.assertEqual(response[9:12], b"%d" % code, (version, hosts))
            self.assertEqual(
                guest.transport.disconnecting,
                response[9:12] != b"200" or version == b"1.0",
            )

    def test_close_in_a_list(self) -> None:
        """``close`` may be one option of several, on several lines (RFC 9110, 5.3)."""
        for lines in (
            b"Connection: keep-alive, Close",
            b"Connection: x,close",
            b"Connection: keep-alive\r\nConnection: close",
        ):
            guest = GuestConnection(site_for(STORE, "c1"))
            response = guest.send(GET.replace(b"Host: x", b"Host: x\r\n" + lines))
            self.assertIn(b"Connection: close\r\n", response, lines)
            self.assertTrue(guest.transport.disconnecting, lines)

    def test_expect(self) -> None:
        """``Expect: 100-continue`` is answered with 100 (RFC 9110, 10.1.1)."""
        head = b"Host: x\r\nExpect: 100-continue\r\nContent-Length: %d"
        response = self.guest.send(GET.replace(b"Host: x", head % MAX_BODY))
        self.assertEqual(response, CONTINUE)
        response = self.guest.send(b"x" * MAX_BODY)
        self.assertEqual(responses(response), [(200, b"1")])

    def test_expect_too_much(self) -> None:
        """For a body that is too large, only the refusal is sent (RFC 9110, 10.1.1)."""
        head = b"Host: x\r\nExpect: 100-continue\r\nContent-Length: %d"
        response = self.guest.send(GET.replace(b"Host: x", head % (MAX_BODY + 1)))
        self.assertTrue(response.startswith(b"HTTP/1.1 413 "), response)
        self.assertTrue(self.guest.transport.disconnecting)
        self.assertEqual(self.guest.send(b"x" * (MAX_BODY + 1) + GET), b"")


class BoundsTests(SynchronousTestCase):
    """Limits on hostile clients."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.site = site_for(STORE, "c1", clock=self.clock)
        self.guest = GuestConnection(self.site)

    def assert_bad_request(self, data: bytes) -> None:
        """Check that ``data`` is refused in plain text and the connection is closed."""
        guest = GuestConnection(self.site)
        response = guest.send(data)
        self.assertEqual(responses(response), [(400, b"bad request\n")], data[:80])
        self.assertIn(b"Content-Type: text/plain; charset=utf-8\r\n", response)
        self.assertTrue(guest.transport.disconnecting)

    def test_not_http(self) -> None:
        """Data that is not HTTP is a bad request."""
        for data in (
            b"\x16\x03\x01\r\n",
            b"GET\r\n",
            b"GET / HTTP/2.0\r\n",
            b"GET /1.0 x HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\n\xff: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"CONNECT lxd:80 HTTP/1.1\r\n\r\n",
        ):
            self.assert_bad_request(data)

    def test_bare_line_feed(self) -> None:
        """Every line has to end with CR LF (RFC 9112, 2.2)."""
        chunked = b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        for data in (
            b"\n",
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\n",
            b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n\n",
            b"GET / HTTP/1.0\n\n",
            chunked + b"1\nx\r\n0\r\n\r\n",
            chunked + b"1\r\nx\n0\r\n\r\n",
            chunked + b"1\r\nx\r\n0\n\r\n\r\n",
        ):
            self.assert_bad_request(data)
        # A trailer is ignored; a bare LF does not end it either.
        self.assertEqual(self.guest.send(chunked + b"0\r\nA: b\n\n" + GET[:-4]), b"")
        self.assertEqual(len(responses(self.guest.send(b"\r\n\r\n"))), 1)

    def test_long_head(self) -> None:
        """The length of a head is limited, in lines and in bytes."""
        self.assert_bad_request(b"GET /" + b"x" * 20_000)
        self.assert_bad_request(b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000)
        many = b"".join(b"A%d: x\r\n" % n for n in range(5000))
        self.assert_bad_request(b"GET / HTTP/1.1\r\n" + many)

    def test_long_body(self) -> None:
        """The length of a body is limited, in bytes and in chunks."""
        head = b"GET /1.0 HTTP/1.1\r\n%b\r\n\r\n"
        for header, body in (
            (b"Content-Length: 1000000000", b"x" * (MAX_BODY + 1)),
            (b"Transfer-Encoding: chunked", b"1\r\nx\r\n" * (MAX_PIECES + 1)),
        ):
            guest = GuestConnection(self.site)
            guest.send(head % header)
            response = guest.send(body)
            self.assertEqual(responses(response), [(413, b"request too large\n")])
            self.assertTrue(guest.transport.disconnecting)

    def test_header_names(self) -> None:
        """The length of header names is limited: twisted.web caches them forever."""
        self.assert_bad_request(b"GET / HTTP/1.1\r\n" + b"x" * 65 + b": y\r\n\r\n")

    def test_folded_header(self) -> None:
        """A folded header is refused (RFC 9112, 5.2)."""
        self.assert_bad_request(b"GET / HTTP/1.1\r\nA: x\r\n y\r\n\r\n")

    def test_file_descriptor(self) -> None:
        """A file descriptor that a client sends is closed, like the connection."""
        channel = self.site.buildProtocol(UNIXAddress(""))
        self.assertTrue(verifyObject(IFileDescriptorReceiver, channel))
        transport = StringTransport()
        channel.makeConnection(transport)
        reader, writer = os.pipe()
        self.addCleanup(os.close, writer)
        channel.fileDescriptorReceived(reader)
        self.assertTrue(transport.disconnected)
        self.assertRaises(OSError, os.fstat, reader)

    def test_half_close(self) -> None:
        """A client that has closed its writing end still receives its responses."""
        channel = self.site.buildProtocol(UNIXAddress(""))
        self.assertTrue(verifyObject(IHalfCloseableProtocol, channel))
        for requests in (1, 3):
            channel = self.site.buildProtocol(UNIXAddress(""))
            transport = StringTransport()
            channel.makeConnection(transport)
            channel.dataReceived(GET * requests)
            channel.readConnectionLost()
            self.clock.advance(0)
            self.assertEqual(len(responses(transport.value())), requests)
            self.assertTrue(transport.disconnecting)

    def test_large_response(self) -> None:
        """A large response is written in slices, as fast as the client reads."""
        store = MemoryStore([Container("c1", {"user.big": BIG * 10})])
        site = site_for(store, "c1", clock=self.clock)
        channel = site.buildProtocol(UNIXAddress(""))
        transport = StringTransport()
        channel.makeConnection(transport)
        transport.write = self.full(transport)  # type: ignore[method-assign] # of one instance
        channel.dataReceived(GET.replace(b"user.a", b"user.big") + GET)
        for _ in range(10):  # turns in which its entity tag is computed
            self.clock.advance(0)
        self.assertLess(len(transport.value()), 2 * SLICE)
        assert transport.producer is not None
        for _ in range(len(BIG) * 10 // SLICE + 1):
            transport.producer.resumeProducing()
            self.clock.advance(0)
        big, small = responses(transport.value())
        self.assertEqual(big, (200, BIG.encode() * 10))
        self.assertEqual(small[0], 404)

    def test_large_response_unread(self) -> None:
        """The connection of a client that does not read a large response is closed."""
        channel = self.site.buildProtocol(UNIXAddress(""))
        transport = StringTransport()
        channel.makeConnection(transport)
        transport.write = self.full(transport)  # type: ignore[method-assign] # of one instance
        channel.dataReceived(GET.replace(b"user.a", b"user.big"))
        self.clock.advance(READ_TIMEOUT - 1)
        self.assertFalse(transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(transport.disconnected)
        channel.connectionLost()
        self.guest.disconnect()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_request(self) -> None:
        """A connection without a request is closed."""
        self.clock.advance(REQUEST_TIMEOUT - 1)
        self.assertFalse(self.guest.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.guest.transport.disconnecting)

    def test_trickle(self) -> None:
        """Sending single bytes does not extend the timeout of a request."""
        for byte in GET[:REQUEST_TIMEOUT]:
            self.assertFalse(self.guest.transport.disconnecting)
            self.guest.send(b"%c" % byte)
            self.clock.advance(1)
        self.assertTrue(self.guest.transport.disconnecting)

    def test_idle(self) -> None:
        """Between requests the longer idle timeout applies."""
        self.guest.send(GET)
        self.clock.advance(IDLE_TIMEOUT - 1)
        self.assertFalse(self.guest.transport.disconnecting)
        self.guest.send(GET)
        self.clock.advance(IDLE_TIMEOUT)
        self.assertTrue(self.guest.transport.disconnecting)

    def test_second_trickle(self) -> None:
        """Sending single bytes does not extend the timeout of a second request."""
        self.guest.send(GET + GET[:5])
        self.clock.advance(REQUEST_TIMEOUT)
        self.assertTrue(self.guest.transport.disconnecting)

    def test_second_trickle_by_lines(self) -> None:
        """Sending single lines does not extend the timeout of a second request."""
        self.guest.send(GET)
        self.guest.send(GET.splitlines(keepends=True)[0])
        self.clock.advance(REQUEST_TIMEOUT)
        self.assertTrue(self.guest.transport.disconnecting)

    def test_turns(self) -> None:
        """Pipelined requests are answered in turn with those of other clients."""
        channel = self.site.buildProtocol(UNIXAddress(""))
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(GET * 100)
        self.assertEqual(len(responses(transport.value())), 1)
        self.assertEqual(transport.producerState, "paused")
        self.clock.advance(0)
        self.assertEqual(len(responses(transport.value())), 100)
        self.assertEqual(transport.producerState, "producing")
        channel.dataReceived(GET * 2)
        channel.connectionLost()
        self.clock.advance(0)
        self.assertEqual(len(responses(transport.value())), 101)

    def test_does_not_read(self) -> None:
        """If the last response is not read, a timeout aborts the connection."""
        self.guest.send(GET.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        self.assertTrue(self.guest.transport.disconnecting)
        self.clock.advance(IDLE_TIMEOUT)
        self.assertTrue(self.guest.transport.disconnected)

    def test_turns_of_containers(self) -> None:
        """A container with many busy connections does not delay others."""
        identifier = MemoryIdentifier({1: Caller("c1", uid=0), 2: Caller("c2", uid=0)})
        store = MemoryStore([Container(n, {"user.a": "1"}) for n in ("c1", "c2")])
        site = GuestSites(store, identifier, MemoryPeerSource(), self.clock).site(LXD)
        answered: list[int] = []

        def connect(pid: int) -> IProtocol:
            self.patch(site.server.admission, "_peers", peer_with(pid))
            channel: IProtocol = site.buildProtocol(UNIXAddress(""))
            transport = StringTransport()
            channel.makeConnection(transport)
            transport.write = lambda data: answered.append(pid)  # type: ignore[method-assign] # records the pid
            return channel

        many = [connect(1) for _ in range(REQUESTS_PER_ITERATION * 3)]
        one = connect(2)
        for channel in many:
            # No response to it is kept, so that each of them is parsed.
            channel.dataReceived(GET.replace(b"user.a", b"user.none"))
        self.assertEqual(answered, [1] * REQUESTS_PER_ITERATION)
        answered.clear()
        one.dataReceived(GET)
        self.assertEqual(answered, [2])
        self.clock.advance(0)
        self.assertEqual(answered, [2] + [1] * REQUESTS_PER_ITERATION * 2)

    def test_times_out_unread(self) -> None:
        """After the timeout, a connection that cannot be closed cleanly is aborted."""
        self.clock.advance(REQUEST_TIMEOUT)
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.guest.transport.disconnected)

    def test_pipelining_without_reading(self) -> None:
        """Responses to pipelined requests are not buffered without limit."""
        big = GET.replace(b"user.a", b"user.big")
        channel = self.site.buildProtocol(UNIXAddress(""))
        transport = StringTransport()
        channel.makeConnection(transport)
        transport.write = self.full(transport)  # type: ignore[method-assign] # of one instance
        channel.dataReceived(big * 100)
        self.clock.advance(0)
        self.assertLess(len(transport.value()), 2 * SLICE)
        self.assertEqual(transport.producerState, "paused")

        assert transport.producer is not None
        received = b""
        for _ in range(1000):
            received += transport.value()
            transport.clear()
            transport.producer.resumeProducing()
            self.clock.advance(0)
            self.assertLess(len(transport.value()), 2 * SLICE)
        self.assertEqual(responses(received), [(200, BIG.encode())] * 100)
        self.assertEqual(transport.producerState, "producing")

    def full(self, transport: StringTransport) -> Callable[[bytes], None]:
        """Return a ``write`` that pauses the producer when a slice fills the buffer."""
        write = transport.write

        def full_write(data: bytes) -> None:
            write(data)
            if len(data) >= 10_000 and transport.producer:
                transport.producer.pauseProducing()

        return full_write

    def test_too_many_connections(self) -> None:
        """The number of connections per container is limited."""
        identifier = MemoryIdentifier({1: Caller("c1", uid=0), 2: Caller("c2", uid=0)})
        site = GuestSites(
            STORE,
            identifier,
            MemoryPeerSource(),
            self.clock,
            limits=limits(connections=2),
        ).site(LXD)

        def connect(pid: int) -> bool:
            self.patch(site.server.admission, "_peers", peer_with(pid))
            return not GuestConnection(site).transport.disconnected

        self.assertEqual([connect(1) for _ in range(3)], [True, True, False])
        self.assertTrue(connect(2))

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=300))
    @example(b"GET / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    @example(b"GET http:// HTTP/1.1\r\n\r\n")
    def test_any_bytes(self, data: bytes) -> None:
        """For any bytes, the response is valid HTTP or empty, and nothing is logged."""
        with capturedLogs() as events:
            responses(GuestConnection(self.site).send(data))
        self.assertEqual([e for e in events if e.get("log_failure")], [])

    @settings(max_examples=300, deadline=None)
    @given(
        method=st.sampled_from([b"GET", b"HEAD", b"POST", b"*", b"g e t"]),
        target=st.text().map(str.encode) | st.binary(),
        headers=st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        b"Content-Length",
                        b"Transfer-Encoding",
                        b"Connection",
                        b"Expect",
                        b"Upgrade",
                        b"Cookie",
                        b"Content-Type",
                    ]
                ),
                st.sampled_from(
                    [b"0", b"1", b"-1", b"chunked", b"identity", b"close", b"a=b"]
                )
                | st.binary(),
            ),
            max_size=4,
        ),
        body=st.binary(),
    )
    def test_almost_http(
        self,
        method: bytes,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
    ) -> None:
        """For data that resembles HTTP, the response is valid HTTP or empty."""
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        data = b"%b /1.0/%b HTTP/1.1\r\n%b\r\n%b" % (method, target, head, body)
        with capturedLogs() as events:
            response = GuestConnection(self.site).send(data)
            if method != b"HEAD":
                responses(response)
        self.assertEqual([e for e in events if e.get("log_failure")], [])
        for name in (b"<html", b"Twisted", b"Traceback", b"Error"):
            self.assertNotIn(name, response)


class LoadingStore(MemoryStore):
    """A store that is loaded when the test fires `loading`."""

    def __init__(self) -> None:
        super().__init__()
        self.loading: Deferred[None] = Deferred()
        self.waiting: list[Deferred[None]] = []

    def loaded(self) -> Deferred[None]:
        """See `IContainerStore.loaded`."""
        loaded: Deferred[None] = Deferred(self.waiting.remove)
        self.waiting.append(loaded)
        self.loading.addCallback(self._end, loaded)
        return loaded

    def _end(self, _: None, loaded: Deferred[None]) -> None:
        if loaded in self.waiting:
            loaded.callback(None)


@frozen
class LateIdentifier(MemoryIdentifier):
    """An identifier that needs the container in the store, as for podman."""

    store: MemoryStore = field(kw_only=True)

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        if not self.store.names():
            raise NotInContainer("not in the store")
        return Caller("c1", uid=0)


class LoadingTests(SynchronousTestCase):
    """Requests before the store is loaded."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = LoadingStore()
        self.site = GuestSites(
            self.store,
            LateIdentifier(store=self.store),
            MemoryPeerSource(),
            self.clock,
        ).site(LXD)
        self.site.startFactory()
        self.addCleanup(self.site.stopFactory)
        self.guest = GuestConnection(self.site)

    def received(self) -> list[tuple[int, bytes]]:
        """Return the responses since the last call."""
        return responses(self.guest.send(b""))

    def test_waits(self) -> None:
        """Requests are answered once the store is loaded."""
        with capturedLogs() as events:
            self.assertEqual(self.guest.send(GET), b"")
            self.store.put(Container("c1", {"user.a": "1"}))
            self.store.loading.callback(None)
            self.assertEqual(self.received(), [(200, b"1")])
        self.assertEqual(events, [])
        self.assertEqual(len(list(self.site.server.registry.of("c1"))), 1)

    def test_half_close(self) -> None:
        """A client that closes its writing end early receives its response."""
        self.guest.send(GET)
        self.guest.half_close()
        self.assertFalse(self.guest.transport.disconnecting)
        self.store.put(Container("c1", {"user.a": "1"}))
        self.store.loading.callback(None)
        self.assertEqual(self.received(), [(200, b"1")])
        self.assertTrue(self.guest.transport.disconnecting)

    def test_waits_no_longer(self) -> None:
        """Requests are answered after a timeout, even if the store is not loaded."""
        self.assertEqual(self.guest.send(GET), b"")
        self.clock.advance(LOADING_TIMEOUT)
        self.assertEqual(self.received(), [(500, b"not in a container\n")])

    def test_waits_once(self) -> None:
        """After the timeout all requests of a connection are answered, in order."""
        self.assertEqual(self.guest.send(GET * 2), b"")
        with capturedLogs() as events:
            self.clock.advance(LOADING_TIMEOUT)
            self.assertEqual(self.received(), [(500, b"not in a container\n")])
        self.assertEqual(len(events), 1)
        self.assertTrue(self.guest.transport.disconnecting)

    def test_pipelined(self) -> None:
        """Several requests on one connection are answered in order."""
        self.assertEqual(self.guest.send(GET * 3), b"")
        self.store.put(Container("c1", {"user.a": "1"}))
        self.store.loading.callback(None)
        self.assertEqual(self.received(), [(200, b"1")] * 3)

    def test_reads_nothing(self) -> None:
        """A connection that waits is not read from."""
        self.assertEqual(self.guest.transport.producerState, "paused")
        self.store.loading.callback(None)
        self.clock.advance(0)
        self.assertEqual(self.guest.transport.producerState, "producing")

    def test_many(self) -> None:
        """Connections that become ready together are identified in turns."""
        guests = [self.guest, *(GuestConnection(self.site) for _ in range(99))]
        for guest in guests:
            self.assertEqual(guest.send(GET), b"")
        self.store.put(Container("c1", {"user.a": "1"}))
        self.store.loading.callback(None)
        self.assertEqual(list(self.site.server.registry.of("c1")), [])
        guests[0].disconnect()
        self.clock.pump([0] * 100)
        received = [responses(guest.receive()) for guest in guests]
        self.assertEqual(received, [[], *[[(200, b"1")]] * 99])
        self.assertEqual(len(list(self.site.server.registry.of("c1"))), 99)

    def test_others(self) -> None:
        """While one container is not loaded, others are answered immediately."""
        store = MemoryStore([Container("c2", {"user.a": "2"})], loaded=False)
        for name, expected in (("c1", []), ("c2", [(200, b"2")])):
            guest = GuestConnection(site_for(store, name))
            self.assertEqual(responses(guest.send(GET)), expected)

    def test_lost(self) -> None:
        """A connection that is lost during the loading is no longer counted."""
        self.guest.send(GET)
        self.guest.disconnect()
        self.store.loading.callback(None)
        self.clock.advance(LOADING_TIMEOUT)
        self.assertEqual(list(self.site.server.registry.all()), [])

    def test_lost_leaves_nothing(self) -> None:
        """A connection lost during the loading leaves no Deferred and no timeout."""
        waiting, calls = list(self.store.waiting), self.clock.getDelayedCalls()
        guest = GuestConnection(self.site)
        guest.send(GET)
        self.assertNotEqual(self.store.waiting, waiting)
        guest.disconnect()
        self.assertEqual(self.store.waiting, waiting)
        self.assertEqual(self.clock.getDelayedCalls(), calls)

    def test_surplus(self) -> None:
        """Surplus connections of a container are closed without a response."""
        aborted: list[None] = []
        # As on a real transport, connectionLost is not called immediately.
        abort = partial(aborted.append, None)
        self.patch(self.guest.transport, "abortConnection", abort)
        self.patch(self.site.server.registry, "_max_connections", lambda: 1)
        self.guest.send(GET)
        self.store.put(Container("c1", {"user.a": "1"}))
        first = GuestConnection(self.site)
        self.assertEqual(responses(first.send(GET)), [(200, b"1")])
        self.store.loading.callback(None)
        self.clock.advance(0)
        self.assertEqual(self.guest.transport.value(), b"")
        self.assertEqual(len(aborted), 1)

    def test_loaded(self) -> None:
        """Once the store is loaded, requests are answered immediately."""
        self.store.loading.callback(None)
        guest = GuestConnection(self.site)
        self.assertEqual(responses(guest.send(GET)), [(500, b"not in a container\n")])


@implementer(IStream)
class FailingStream:
    """A stream that fails.

    :param starts: whether it fails when it is resumed; otherwise when it is started.
    :ivar is_closed: whether it was closed.
    """

    is_closed = False

    def __init__(self, starts: bool = False) -> None:
        self._starts = starts

    def start(self, sink: ISink) -> None:
        """See `IStream.start`."""
        if not self._starts:
            raise ZeroDivisionError
        self._sink = sink

    def pause(self) -> None:
        """See `IStream.pause`."""

    def resume(self) -> None:
        """See `IStream.resume`."""
        self._sink.fail(Failure(ZeroDivisionError()))

    def close(self) -> None:
        """See `IStream.close`."""
        self.is_closed = True


class FailureTests(SynchronousTestCase):
    """Errors inside devlxd."""

    def test_request(self) -> None:
        """A failure is logged in detail; the client receives a plain 500."""
        site = site_for(STORE, "c1")
        self.patch(site.server.handler, "respond", lambda *_: 1 // 0)
        guest = GuestConnection(site)
        response = guest.send(GET)
        self.assertEqual(responses(response), [(500, b"internal server error\n")])
        self.assertTrue(guest.transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def logged(self, site: DevLXDSite, data: bytes) -> str:
        """Send a request that fails; return the line that is logged."""
        guest = GuestConnection(site)
        with capturedLogs() as events:
            guest.send(data)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        (event,) = events
        return formatEvent(event)

    def test_logged(self) -> None:
        """The log line names the request, up to a limited length, and the owner."""
        site = site_for(STORE, "c1")
        self.patch(site.server.handler, "respond", lambda *_: 1 // 0)
        end = " of c1 failed; the client receives a 500, or its connection is closed"
        line = self.logged(site, GET)
        self.assertEqual(line, "request 'GET /1.0/config/user.a'" + end)
        line = self.logged(site, b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 9999))
        self.assertEqual(line, f"request 'GET /{'x' * (MAX_LOGGED - 5)}'" + end)

    def test_logged_messages(self) -> None:
        """The log line about a stream of messages names its owner."""
        site = site_for(STORE, "c1")
        stream = FailingStream(starts=True)
        self.patch(
            site.server.handler, "respond", lambda *_: MessageResponse((), (), stream)
        )
        self.assertEqual(
            self.logged(site, GET),
            "a stream of messages to c1 failed; its connection is aborted",
        )

    def test_logged_late(self) -> None:
        """The log line names the owner even after the client has disconnected."""
        site = site_for(STORE, "c1")
        late: Deferred[Response | StreamResponse] = Deferred()
        self.patch(site.server.handler, "respond", lambda *_: PendingStream(late))
        guest = GuestConnection(site)
        guest.send(GET)
        guest.disconnect()
        with capturedLogs() as events:
            late.errback(ZeroDivisionError())
        self.assertEqual([event["owner"] for event in events], ["c1"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stream(self) -> None:
        """If a stream cannot start, it is closed; the guest receives a plain 500."""
        site = site_for(STORE, "c1")
        for kind in (
            partial(StreamResponse, 200, ()),
            partial(MessageResponse, (), ()),
        ):
            stream = FailingStream()
            response_of = partial(lambda response, *_: response, kind(stream))
            self.patch(site.server.handler, "respond", response_of)
            guest = GuestConnection(site)
            response = guest.send(GET)
            self.assertEqual(responses(response), [(500, b"internal server error\n")])
            self.assertTrue(guest.transport.disconnecting)
            self.assertTrue(stream.is_closed)
            guest.disconnect()
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_messages(self) -> None:
        """If a stream of messages fails, that is logged; the guest is disconnected."""
        site = site_for(STORE, "c1")
        stream = FailingStream(starts=True)
        self.patch(
            site.server.handler, "respond", lambda *_: MessageResponse((), (), stream)
        )
        guest = GuestConnection(site)
        guest.send(GET)
        self.assertTrue(guest.transport.disconnected)
        guest.disconnect()
        self.assertTrue(stream.is_closed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_refusal(self) -> None:
        """If `IAdmission.refused` raises, the guest is still disconnected."""
        sites = GuestSites(
            STORE,
            MemoryIdentifier(),
            MemoryPeerSource(),
            Clock(),
            limits=limits(connections=1),
        )
        site = sites.site(LXD)
        GuestConnection(site)
        self.patch(site.server.admission, "refused", lambda _: 1 // 0)
        channel, transport = site.buildProtocol(None), StringTransport()
        self.assertRaises(ZeroDivisionError, channel.makeConnection, transport)
        self.assertTrue(transport.disconnected)

    def test_identifier(self) -> None:
        """If the identifier fails, the caller is unidentified."""
        site = site_for(STORE, "c1")
        self.patch(site.server.admission, "_identifier", None)
        response = GuestConnection(site).send(GET)
        self.assertEqual(responses(response), [(500, b"not in a container\n")])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_peers(self) -> None:
        """A peer without credentials is unidentified; the reason is logged."""
        site = GuestSites(
            STORE, MemoryIdentifier(), MemoryPeerSource(None), Clock()
        ).site(LXD)
        with capturedLogs() as events:
            response = GuestConnection(site).send(GET)
        self.assertEqual(responses(response), [(500, b"not in a container\n")])
        (event,) = events
        self.assertEqual(str(event["reason"]), "the connection has no peer")


@implementer(IStoreObserver)
@frozen
class StoppingObserver:
    """An observer that stops a site."""

    site: DevLXDSite

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        self.site.doStop()


class RunTests(SynchronousTestCase):
    """Connections belong to one run of a container."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.container = Container("c1", {"user.a": "1", "volatile.uuid": "x"})
        self.store = MemoryStore([self.container, Container("c2")])
        self.identifier = MemoryIdentifier(
            {1: Caller("c1", 0, run=1), 2: Caller("c2", 0, run=2)}
        )
        self.site = GuestSites(
            self.store, self.identifier, MemoryPeerSource(), self.clock
        ).site(LXD)
        self.site.doStart()
        self.addCleanup(self.site.doStop)
        self.guests = [self.connect(pid) for pid in (1, 2)]

    def connect(self, pid: int) -> GuestConnection:
        """Connect as the process ``pid``."""
        self.patch(self.site.server.admission, "_peers", peer_with(pid))
        return GuestConnection(self.site)

    def assert_closed(self, *closed: bool) -> None:
        """Check which of the two clients are disconnected."""
        self.assertEqual(
            [guest.transport.disconnecting for guest in self.guests], list(closed)
        )

    def test_changed(self) -> None:
        """A changed container keeps its connections."""
        self.store.put(evolve(self.container, config={"volatile.uuid": "x"}))
        self.store.put(evolve(self.container, config={}))
        self.store.put(self.container)
        self.assert_closed(False, False)

    def test_removed(self) -> None:
        """The connections of a removed container are closed, no others."""
        self.store.remove("c1")
        self.assert_closed(True, False)

    def test_cached_responses_are_discarded(self) -> None:
        """Cached responses of a removed container are discarded."""
        self.guests[0].get("/1.0/config")
        self.store.remove("c1")
        handler = cast(GuestAPI, self.site.server.handler)
        self.assertEqual(handler.services.cache._kept, {})

    def test_replaced(self) -> None:
        """The connections of a container that is replaced by another one are closed."""
        self.store.put(evolve(self.container, config={"volatile.uuid": "y"}))
        self.assert_closed(True, False)

    def test_other_id(self) -> None:
        """A container with another id of podman or docker is another container."""
        self.store.put(evolve(self.container, id="y"))
        self.assert_closed(True, False)

    def test_ended(self) -> None:
        """When a container's run ends, its connections are closed."""
        self.identifier.end(2)
        self.assert_closed(False, True)

    def test_stopped_while_notifying(self) -> None:
        """A site that stops while its store notifies observers may be notified."""
        self.site.doStop()
        observer = StoppingObserver(self.site)
        self.store.watch(observer)
        self.site.doStart()
        self.store.remove("c1")
        self.assertEqual(self.flushLoggedErrors(), [])
        self.store.unwatch(observer)
        self.site.doStart()

    def test_stopped(self) -> None:
        """A stopped site does not observe its store."""
        self.site.doStop()
        self.store.remove("c1")
        self.assert_closed(False, False)
        self.site.doStart()


class CloseTests(SynchronousTestCase):
    """Closing all connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.site = site_for(STORE, "c1", clock=self.clock)

    def test_none(self) -> None:
        """Without connections the Deferred fires immediately."""
        self.assertIsNone(self.successResultOf(self.site.close_connections()))

    def test_twice(self) -> None:
        """The Deferreds of all calls fire."""
        guest = GuestConnection(self.site)
        waiting = [self.site.close_connections() for _ in range(2)]
        guest.disconnect()
        for closed in waiting:
            self.successResultOf(closed)

    def test_waits(self) -> None:
        """The Deferred fires when the last connection is closed."""
        channels = []
        for _ in range(2):
            channel = self.site.buildProtocol(UNIXAddress(""))
            channel.makeConnection(StringTransport())
            channels.append(channel)
        closed = self.site.close_connections()
        for channel in channels:
            self.assertNoResult(closed)
            self.assertTrue(channel.transport.disconnecting)
            channel.connectionLost()
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stuck(self) -> None:
        """A connection whose client does not read is aborted after a timeout."""
        guest = GuestConnection(self.site)
        self.site.close_connections()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(guest.transport.disconnected)
