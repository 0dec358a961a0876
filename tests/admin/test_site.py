"""Tests of `devlxd.admin.site`, and of the requests and responses of operators."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.request import MAX_BODY, AdminRequest
from devlxd.admin.resource import AdminResource
from devlxd.admin.responses import AdminResponse, json_response
from devlxd.admin.site import (
    CLOSE_TIMEOUT,
    MAX_CONNECTIONS,
    REQUEST_TIMEOUT,
    AdminSite,
)
from tests.admin.operators import Answer, Operated, OperatorConnection


class FailingResource(AdminResource):
    """A resource that fails."""

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        raise ZeroDivisionError("a secret")


class EchoResource(AdminResource):
    """A resource that returns what it was asked for."""

    methods = ("GET", "POST")
    is_public = True

    def respond(self, request: AdminRequest) -> AdminResponse:
        """See `AdminResource.respond`."""
        assert request.content is not None
        return json_response(
            [request.name, request.argument("a"), len(request.content.read())]
        )


class SiteTests(SynchronousTestCase):
    """The site of the operator's socket."""

    def setUp(self) -> None:
        self.operated = Operated()
        self.clock = self.operated.clock
        self.routes: Mapping[str, AdminResource] = {
            **self.operated.routes,
            "/fails": FailingResource(),
            "/echo/*": EchoResource(),
        }
        self.site = AdminSite(self.routes, self.clock)

    def connect(self) -> OperatorConnection:
        """Connect to the site."""
        return OperatorConnection(self.site)

    def check_error(self, answer: Answer, code: int, text: str) -> None:
        """Check that a response is an error in JSON."""
        self.assertEqual((answer.code, answer.json()), (code, {"error": text}))
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["content-length"], str(len(answer.body)))

    def test_headers(self) -> None:
        """A response is not cached, its type is not guessed, its connection ends."""
        connection = self.connect()
        answer = connection.ask("/status")
        self.assertEqual(
            answer.headers,
            {
                "connection": "close",
                "content-type": "application/json",
                "cache-control": "no-store",
                "x-content-type-options": "nosniff",
                "server": "devlxd",
                "content-length": str(len(answer.body)),
            },
        )
        self.assertTrue(answer.body.endswith(b"}\n"))
        self.assertFalse(connection.transport.connected)

    def test_one_request(self) -> None:
        """A second request on a connection is not answered."""
        connection = self.connect()
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.send(request * 2)
        self.assertEqual(connection.receive().count(b"HTTP/1.1 "), 1)

    def test_head(self) -> None:
        """The response to HEAD is that to GET, without the body."""
        answer = self.connect().ask("/status", "HEAD")
        self.assertEqual((answer.code, answer.body), (200, b""))
        self.assertGreater(int(answer.headers["content-length"]), 100)

    def test_not_found(self) -> None:
        """Any other path is a 404 in JSON."""
        for path in ("/nope", "/status/", "/status/x", "//status", "/echo/"):
            self.check_error(self.connect().ask(path), 404, "not found")
        for path in ("*", "http://x/status", "/containers/*/"):
            self.assertEqual(self.connect().ask(path).code, 404, path)

    def test_star(self) -> None:
        """The last segment of a path is decoded, also if it has a slash or a star."""
        for sent, name in (("a%2Fb%20c", "a/b c"), ("*", "*"), ("%2A", "*")):
            answer = self.connect().ask(f"/echo/{sent}?a=1&a=2")
            self.assertEqual(answer.json(), [name, "1", 0])

    def test_methods(self) -> None:
        """Another method is a 405 in JSON that lists those of the resource."""
        for method in ("POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"):
            answer = self.connect().ask("/status", method)
            self.check_error(answer, 405, "method not allowed")
            self.assertEqual(answer.headers["allow"], "GET, HEAD")
        answer = self.connect().ask("/reload")
        self.assertEqual((answer.code, answer.headers["allow"]), (405, "POST"))

    def test_failure(self) -> None:
        """An error in devlxd is logged, and is a 500 without details."""
        self.check_error(self.connect().ask("/fails"), 500, "internal error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_malformed(self) -> None:
        """What is not HTTP is refused without HTML."""
        connection = self.connect()
        connection.send(b"nonsense\r\n\r\n")
        answer = Answer.parse(connection.receive())
        self.assertEqual((answer.code, answer.body), (400, b""))

    def test_body(self) -> None:
        """A body of 4 KiB is accepted."""
        connection = self.connect()
        connection.send(
            b"POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % MAX_BODY
        )
        connection.send(b"x" * MAX_BODY)
        answer = Answer.parse(connection.receive())
        self.assertEqual(answer.json(), ["x", "", MAX_BODY])

    def test_large_body(self) -> None:
        """A larger body is refused as soon as it is announced or received."""
        connection = self.connect()
        connection.send(
            b"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            % (MAX_BODY + 1)
        )
        answer = Answer.parse(connection.receive())
        self.check_error(answer, 413, "the body is too large")
        self.assertFalse(connection.transport.connected)
        connection = self.connect()
        connection.send(
            b"POST /reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(MAX_BODY // 1024 + 1):
            self.assertEqual(connection.receive(), b"")
            connection.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        self.assertEqual(Answer.parse(connection.receive()).code, 413)
        self.assertFalse(connection.transport.connected)

    def test_large_body_unread(self) -> None:
        """A body that goes on after its refusal is not refused again."""
        connection = self.connect()
        connection.transport.holds = True
        connection.send(
            b"POST /reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.send(b"1\r\nx\r\n" * (MAX_BODY + 100))
        self.assertEqual(connection.receive().count(b"HTTP/1.1 413 "), 1)

    def test_request_timeout(self) -> None:
        """A request that does not arrive is not waited for, however it trickles in."""
        connection = self.connect()
        for _ in range(REQUEST_TIMEOUT - 1):
            connection.send(b"G")
            self.clock.advance(1)
        self.assertTrue(connection.transport.connected)
        self.clock.advance(1)
        self.assertTrue(connection.transport.disconnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reading_timeout(self) -> None:
        """The connection of a client that does not read its response is aborted."""
        connection = self.connect()
        connection.transport.holds = True
        self.assertEqual(connection.ask("/status").code, 200)
        self.clock.advance(REQUEST_TIMEOUT - 1)
        self.assertTrue(connection.transport.connected)
        self.clock.advance(1)
        self.assertTrue(connection.transport.disconnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_connections(self) -> None:
        """One endpoint has 64 connections at a time."""
        connections = [self.connect() for _ in range(MAX_CONNECTIONS)]
        for connection in connections:
            connection.ask("/events")
        self.assertFalse(self.connect().is_accepted)
        connections[0].transport.loseConnection()
        self.assertTrue(self.connect().is_accepted)

    def test_silent_connections(self) -> None:
        """Clients that send no request, or do not read, keep no others out."""
        silent, follower = self.connect(), self.connect()
        follower.ask("/events")
        unread = self.connect()
        unread.transport.holds = True
        unread.ask("/status")
        others = [self.connect() for _ in range(MAX_CONNECTIONS - 3)]
        for connection in (silent, unread, others[0]):
            self.assertTrue(connection.transport.connected)
            self.assertEqual(self.connect().ask("/status").code, 200)
            self.assertTrue(connection.transport.disconnected)
            self.connect()
        self.assertTrue(follower.transport.connected)

    def test_disconnected(self) -> None:
        """A client that disconnects within a request leaves nothing behind."""
        connection = self.connect()
        connection.send(b"POST /reload HTTP/1.1\r\nHost: x\r\n")
        connection.transport.loseConnection()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.site.connections, {})

    def test_disconnected_before_the_response(self) -> None:
        """A response for a client that has gone is not sent, and no error."""

        class DisconnectingResource(AdminResource):
            def respond(self, request: AdminRequest) -> AdminResponse:
                connection.transport.loseConnection()
                return json_response({})

        self.site = AdminSite({"/x": DisconnectingResource()}, self.clock)
        connection = self.connect()
        connection.send(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(connection.receive(), b"")

    def test_close(self) -> None:
        """When devlxd stops, connections that do not close soon are aborted."""
        self.assertIsNone(self.successResultOf(self.site.close_connections()))
        slow, connection = self.connect(), self.connect()
        slow.transport.holds = True
        closed = self.site.close_connections()
        self.assertFalse(connection.transport.connected)
        self.assertNoResult(closed)
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(slow.transport.disconnected)
        self.successResultOf(closed)

    def test_tcp(self) -> None:
        """At a TCP port only public resources are served."""
        site = AdminSite(self.routes, self.clock, is_tcp=True)
        public = [path for path, one in self.routes.items() if one.is_public]
        self.assertIn("/healthz", public)
        for path in self.routes:
            answer = OperatorConnection(site, "127.0.0.1").ask(path)
            self.assertEqual(answer.code == 404, path not in public, path)

    def test_tcp_often(self) -> None:
        """At a TCP port a response is made once a second, however often it is read."""
        site = AdminSite(self.routes, self.clock, is_tcp=True)

        def codes() -> list[int]:
            connections = [OperatorConnection(site, "::1") for _ in range(2)]
            return [
                one.ask(f"/healthz?{number}", headers=[f"Accept: x/{number}"]).code
                for number, one in enumerate(connections)
            ]

        self.assertEqual(codes(), [200, 200])
        (service,) = self.operated.services
        service.bound = []
        self.assertEqual(codes(), [200, 200])
        self.clock.advance(1)
        self.assertEqual(codes(), [503, 503])

    def test_tcp_variants(self) -> None:
        """The format of the metrics is that which each client accepts."""
        site = AdminSite(self.routes, self.clock, is_tcp=True)
        for accept, kind in (
            ("application/openmetrics-text", "application/openmetrics-text"),
            ("*/*", "text/plain"),
            ("application/openmetrics-text", "application/openmetrics-text"),
        ):
            connection = OperatorConnection(site, "::1")
            answer = connection.ask("/metrics", headers=[f"Accept: {accept}"])
            self.assertEqual(answer.headers["content-type"].split(";")[0], kind)

    def test_tcp_host(self) -> None:
        """At a TCP port a request for another host is refused: a page has sent it."""
        site = AdminSite(self.routes, self.clock, is_tcp=True)
        for host, code in (("[::1]:9", 200), ("evil.example:9", 403), ("", 403)):
            connection = OperatorConnection(site, "127.0.0.1")
            connection.send(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            self.assertEqual(Answer.parse(connection.receive()).code, code)
        connection = OperatorConnection(site, "127.0.0.1")
        connection.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        self.assertEqual(Answer.parse(connection.receive()).code, 403)

    def test_no_access_log(self) -> None:
        """The reactor is not woken for an access log."""
        self.site.doStart()
        self.site.doStop()
        self.connect().ask("/status")
        self.assertEqual(self.clock.getDelayedCalls(), [])
