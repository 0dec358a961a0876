"""Tests of `devlxd.httpserver.quick_requests`.

`tests.fuzz.questions` compares a server that has this fast path with one that has not.
"""

from __future__ import annotations

from itertools import islice, product
from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from devlxd import fast_paths
from devlxd.containers.memory_store import MemoryStore
from devlxd.fast_paths import FastPath
from devlxd.guestapi.api import GuestAPI
from devlxd.httpserver.handover_channel import HandoverChannel
from devlxd.httpserver.quick_requests import (
    MAX_REQUEST,
    QuickChannel,
    path_of,
    rendered,
)
from devlxd.httpserver.registry import QUICK_COST, REQUESTS_PER_ITERATION
from devlxd.httpserver.request import SLICE
from devlxd.httpserver.responses import (
    INTERNAL_ERROR,
    TEXT,
    MessageResponse,
    Response,
)
from devlxd.httpserver.site import DevLXDSite
from devlxd.model import Container
from devlxd.testing import GuestConnection, RecordingServiceObserver, site_for
from tests.httpserver.test_sinks import SilentStream
from tests.httpserver.test_site import responses

GET = b"GET /1.0/config/user.a HTTP/1.1\r\nHost: lxd\r\n\r\n"

#: What well-known clients send: curl, Go, requests, h2load and ``http.client``.
CLIENTS = [
    b"Host: lxd\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n",
    b"Host: lxd\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n",
    b"Host: lxd\r\nUser-Agent: python-requests/2.32.3\r\n"
    b"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n",
    b"Host: lxd\r\nuser-agent: h2load nghttp2/1.64.0\r\n",
    b"Host: localhost\r\nAccept-Encoding: identity\r\n",
]

#: Fields that may change a response, or make a request malformed.
OTHERS = [
    b"Host: other",
    b"Connection: close",
    b"Connection: keep-alive, close",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Expect: 100-continue",
    b"Range: bytes=0-1",
    b"If-None-Match: *",
    b"If-Match: *",
    b"Content-Length: 0",
    b"Transfer-Encoding: chunked",
    b"TE: trailers",
    b"Cookie: a=b",
    b"X-Other: a",
    b"Accept :*/*",
    b"Accept: \xe4",
    b"Accept: a\rb",
    b"Accept: a\nb",
    b"Accept: \0",
    b" folded",
]


def with_fields(*fields: bytes) -> bytes:
    """Return a request with further header fields."""
    return GET[:-2] + b"".join(b"%b\r\n" % field for field in fields) + b"\r\n"


class GrammarTests(SynchronousTestCase):
    """The requests that may be answered without parsing them."""

    def test_clients(self) -> None:
        """They include those of well-known clients."""
        for client in CLIENTS:
            data = b"GET /1.0/meta-data HTTP/1.1\r\n%b\r\n" % client
            self.assertEqual(path_of(data), b"/1.0/meta-data", client)

    def test_fields(self) -> None:
        """No field may change the response, wherever it is."""
        for field in OTHERS:
            self.assertIsNone(path_of(with_fields(field)), field)
            before = GET.replace(b"Host:", field + b"\r\nHost:")
            self.assertIsNone(path_of(before), field)

    def test_number_of_fields(self) -> None:
        """There are fewer fields than an operator may permit."""
        accept = b"Accept: */*"
        self.assertIsNotNone(path_of(with_fields(*[accept] * 7)))
        self.assertIsNone(path_of(with_fields(*[accept] * 8)))

    def test_lines(self) -> None:
        """The request line is that of a GET in HTTP/1.1 for a plain path."""
        for line in (
            *(b"HEAD / HTTP/1.1", b"get / HTTP/1.1", b"GET / HTTP/1.0"),
            *(b"GET /?a HTTP/1.1", b"GET /%61 HTTP/1.1", b"GET  / HTTP/1.1"),
            *(b"GET http://lxd/ HTTP/1.1", b"GET * HTTP/1.1", b"GET /\xe4 HTTP/1.1"),
            *(b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"\r\nGET / HTTP/1.1"),
        ):
            self.assertIsNone(path_of(line + b"\r\nHost: lxd\r\n\r\n"), line)
        self.assertEqual(path_of(b"GET / HTTP/1.1\r\nHost: lxd\r\n\r\n"), b"/")

    def test_whole(self) -> None:
        """There is nothing before the request or after it, and no part is missing."""
        for data in (b"", GET + b"G", GET + b"\r\n", GET + GET):
            self.assertIsNone(path_of(data))
        for end in range(len(GET)):
            self.assertIsNone(path_of(GET[:end]))
        self.assertIsNone(path_of(GET.replace(b"\r\n", b"\n")))
        self.assertIsNone(path_of(GET.replace(b"Host: lxd\r\n", b"")))

    def test_length(self) -> None:
        """A long request is parsed, as each connection keeps its last one."""
        length = MAX_REQUEST - len(with_fields(b"Accept: "))
        self.assertIsNotNone(path_of(with_fields(b"Accept: " + b"a" * length)))
        self.assertIsNone(path_of(with_fields(b"Accept: a" + b"a" * length)))


class RenderedTests(SynchronousTestCase):
    """The responses that can be kept as they are sent."""

    def test_long(self) -> None:
        """A response that is sent in pieces is not kept."""
        self.assertIsNotNone(rendered(Response(200, TEXT, b"x" * SLICE)))
        self.assertIsNone(rendered(Response(200, TEXT, b"x" * (SLICE + 1))))

    def test_others(self) -> None:
        """Only responses of status 200 are kept, on connections that stay open."""
        self.assertIsNone(rendered(INTERNAL_ERROR))
        self.assertIsNone(rendered(Response(404, TEXT, b"x")))
        self.assertIsNone(rendered(Response(200, TEXT, b"x", closes=True)))


class QuickChannelTests(SynchronousTestCase):
    """Connections that answer requests without parsing them."""

    def setUp(self) -> None:
        self.patch(fast_paths, "enabled", {FastPath.QUESTIONS})
        self.observer = RecordingServiceObserver()
        self.store = MemoryStore([Container("c1", {"user.a": "1"})])
        self.site = self.make_site()
        self.parsed = 0

    def make_site(self) -> DevLXDSite:
        """Return a site; count the requests that it parses."""
        site = site_for(self.store, "c1", observer=self.observer)
        handler = cast(GuestAPI, site.server.handler)
        respond = handler.respond

        def count(*args: object) -> object:
            self.parsed += 1
            return respond(*args)  # type: ignore[arg-type] # as they come

        self.patch(handler, "respond", count)
        return site

    def test_kept(self) -> None:
        """After the first request for a path, no such request is parsed."""
        guest, other = GuestConnection(self.site), GuestConnection(self.site)
        first = guest.send(GET)
        self.assertEqual(responses(first), [(200, b"1")])
        for connection in (guest, guest, other):
            self.assertEqual(connection.send(GET), first)
        self.assertEqual(self.parsed, 1)

    def test_observed(self) -> None:
        """The observer is notified of each response."""
        guest = GuestConnection(self.site)
        guest.send(GET)
        before = list(self.observer.notifications)
        guest.send(GET)
        asked = [("asked", "c1", "/1.0/config/user.a", 200), ("responded", "lxd", 200)]
        self.assertEqual(self.observer.notifications, before + asked)

    def test_changed(self) -> None:
        """After a change, the response is the new one."""
        guest = GuestConnection(self.site)
        for value in ("2", "3"):
            guest.send(GET)
            self.store.set_config("c1", "user.a", value)
            self.assertEqual(responses(guest.send(GET)), [(200, value.encode())])

    def test_date(self) -> None:
        """``Date`` is the time of the response."""
        guest = GuestConnection(self.site)
        guest.send(GET)
        clock = self.site.server.reactor
        clock.advance(5)  # type: ignore[attr-defined] # a clock
        self.assertIn(b"Date: Thu, 01 Jan 1970 00:00:05 GMT\r\n", guest.send(GET))
        self.assertEqual(self.parsed, 1)

    def test_failure(self) -> None:
        """If the handler fails, the request is parsed, and the failure is logged."""
        guest = GuestConnection(self.site)
        guest.send(GET)
        self.patch(self.store, "get", lambda name: {}[name])
        self.assertEqual([code for code, _ in responses(guest.send(GET))], [500])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_turns(self) -> None:
        """A container with many connections has a share of each iteration."""
        count = int(REQUESTS_PER_ITERATION / QUICK_COST) + 10
        GuestConnection(self.site).send(GET)
        self.parsed = 0
        guests = [GuestConnection(self.site) for _ in range(count)]
        for guest in guests:
            guest._protocol.dataReceived(GET)
        answered = [bool(guest.receive()) for guest in guests]
        self.assertEqual(answered, [True] * (count - 10) + [False] * 10)
        self.site.server.reactor.advance(0)  # type: ignore[attr-defined] # a clock
        self.assertTrue(all(guest.receive() for guest in guests[-10:]))
        self.assertEqual(self.parsed, 10)

    def test_encoded(self) -> None:
        """Requests for encoded paths do not use up what is kept of a container."""
        guest, name = GuestConnection(self.site), b"user.a"
        ways = product(*((b"%c" % byte, b"%%%02X" % byte) for byte in name))
        for way in islice(ways, 1, None):
            data = guest.send(GET.replace(name, b"".join(way)))
            self.assertEqual(responses(data), [(200, b"1")])
        data = guest.send(GET.replace(name, b"user%2ea"))
        self.assertEqual(responses(data), [(200, b"1")])
        guest.send(GET)
        self.parsed = 0
        guest.send(GET)
        self.assertEqual(self.parsed, 0)

    def test_stream(self) -> None:
        """A connection keeps no request while it carries an endless stream."""
        response = MessageResponse((), (), SilentStream())
        handler = cast(GuestAPI, self.site.server.handler)
        self.patch(handler, "respond", lambda *_: response)
        guest = GuestConnection(self.site)
        guest.send(GET)
        guest.send(GET)
        channel = guest._protocol
        assert isinstance(channel, QuickChannel)
        self.assertEqual((channel._quick, channel._quick_path), (None, b""))

    def test_off(self) -> None:
        """The fast path can be switched off."""
        self.assertIs(type(self.site.buildProtocol(None)), QuickChannel)
        self.patch(fast_paths, "enabled", set())
        site = self.make_site()
        self.assertIs(type(site.buildProtocol(None)), HandoverChannel)
        guest = GuestConnection(site)
        guest.send(GET)
        guest.send(GET)
        self.assertEqual(self.parsed, 2)
