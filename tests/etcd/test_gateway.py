"""Tests of `devlxd.etcd.gateway`, with an agent in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IConsumer, IProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from devlxd.etcd.errors import EtcdError
from devlxd.etcd.gateway import (
    CLOSE_TIMEOUT,
    REFUSED_PAUSE,
    WATCH_TIMEOUT,
    EtcdGateway,
)
from devlxd.etcd.location import EtcdLocation
from devlxd.etcd.messages import KeyRange, RangeAnswer, RangeRequest
from devlxd.testing import MemoryDevLXDReactor, RecordingWatchReceiver
from tests.etcd.test_bodies import Response

KEYS = KeyRange.of_prefix("/h1/")

EMPTY = b'{"header":{"cluster_id":"17","revision":"1"}}'

IDLE = ResponseNeverReceived([Failure(ConnectionDone())])


class GatewayResponse(Response):
    """A response as the client needs it, whose body is there at once.

    :param is_endless: whether the body goes on.
    """

    def __init__(self, code: int, content: bytes, is_endless: bool) -> None:
        super().__init__(code)
        self.headers = Headers()
        self._content = content
        self._is_endless = is_endless

    def deliverBody(self, protocol: Protocol) -> None:
        """See `IResponse.deliverBody`."""
        super().deliverBody(protocol)
        self.send(self._content)
        if not self._is_endless:
            self.end()


class _Body:
    """Collects the body of a request."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, data: bytes) -> None:
        """See `IConsumer.write`."""
        self.content += data


@implementer(IAgent)
class ScriptedAgent:
    """An agent that answers as a test says.

    :ivar requests: the path, the token and the body of each request.
    :ivar answers: what to answer: a status and a body, or an error.
    :ivar waiting: the responses whose bodies are not sent.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.answers: list[tuple[int, bytes] | Exception | None] = []
        self.waiting: list[GatewayResponse] = []

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See `IAgent.request`."""
        assert headers is not None and bodyProducer is not None
        body = _Body()
        bodyProducer.startProducing(cast(IConsumer, body))
        (token,) = headers.getRawHeaders("Authorization", [""])
        path = uri.decode().removeprefix("http://etcd")
        self.requests.append((path, token, json.loads(body.content)))
        answer = self.answers.pop(0)
        if answer is None:
            return Deferred()
        if isinstance(answer, Exception):
            return fail(answer)
        status, content = answer
        is_endless = status == 200 and path.endswith("/watch")
        response = GatewayResponse(status, content, is_endless)
        self.waiting.append(response)
        return succeed(cast(IResponse, response))


class GatewayTestCase(SynchronousTestCase):
    """A base class of tests with a gateway."""

    def setUp(self) -> None:
        self.password = Path(tempfile.mkdtemp(dir=".")).absolute() / "password"
        self.password.touch(0o600)
        self.password.write_text("swordfish")
        self.location = EtcdLocation.parse(
            f"etcd:unix:/nope/sock?prefix=/h1/&user=h1&password-file={self.password}"
        )
        self.make()

    def make(self) -> None:
        """Make the gateway."""
        self.agent = ScriptedAgent()
        self.reactor = MemoryDevLXDReactor()
        (address,) = self.location.endpoints
        self.gateway = EtcdGateway(self.location, address, self.reactor, self.agent)

    def ask(self) -> Deferred[RangeAnswer]:
        """Ask for keys."""
        return self.gateway.range(RangeRequest(KEYS), 1024, 5)

    def error(self) -> EtcdError:
        """Ask for keys; return the error."""
        failure = self.failureResultOf(self.ask(), EtcdError)
        error = failure.value
        assert isinstance(error, EtcdError)
        self.assertNotIn("swordfish", str(failure) + repr(error) + repr(self.gateway))
        return error

    def paths(self) -> list[tuple[str, str]]:
        """Return the paths and the tokens of the requests since the last call."""
        found = [(path, token) for path, token, _ in self.agent.requests]
        self.agent.requests.clear()
        return found


class RangeTests(GatewayTestCase):
    """Asking for keys."""

    def test_token(self) -> None:
        """A token is asked for once, and again when etcd has forgotten it."""
        self.agent.answers = [(200, b'{"token":"one"}'), (200, EMPTY), (200, EMPTY)]
        for _ in range(2):
            self.successResultOf(self.ask())
        asked = self.agent.requests[0]
        self.assertEqual(asked[2], {"name": "h1", "password": "swordfish"})
        expected = [("/v3/auth/authenticate", ""), *[("/v3/kv/range", "one")] * 2]
        self.assertEqual(self.paths(), expected)
        self.agent.answers = [
            (401, b'{"message":"invalid auth token","code":16}'),
            (200, b'{"token":"two"}'),
            (200, EMPTY),
        ]
        self.successResultOf(self.ask())
        self.assertEqual(
            self.paths(),
            [
                ("/v3/kv/range", "one"),
                ("/v3/auth/authenticate", ""),
                ("/v3/kv/range", "two"),
            ],
        )

    def test_refused_twice(self) -> None:
        """A token that is new and refused is an error, not asked for for ever."""
        self.agent.answers = [
            (200, b'{"token":"one"}'),
            (401, b'{"message":"invalid auth token","code":16}'),
        ]
        self.assertEqual(self.error().code, 16)

    def test_no_authentication(self) -> None:
        """Without authentication there is no token."""
        self.agent.answers = [
            (412, b'{"message":"authentication is not enabled","code":9}'),
            (200, EMPTY),
        ]
        self.successResultOf(self.ask())
        self.assertEqual(self.paths()[-1], ("/v3/kv/range", ""))

    def test_wrong_password(self) -> None:
        """A wrong password is what etcd says it is."""
        self.agent.answers = [(400, b'{"message":"authentication failed","code":3}')]
        self.assertEqual(str(self.error()), "authentication failed")

    def test_wrong_password_again(self) -> None:
        """A wrong password is sent every 15 s, and another one at once.

        Refusing one costs etcd much time, and all hosts of a fleet may have it.
        """
        wrong = 400, b'{"message":"authentication failed","code":3}'
        self.agent.answers = [wrong, wrong, wrong]
        for _ in range(3):
            self.assertEqual(str(self.error()), "authentication failed")
        self.assertEqual(len(self.paths()), 1)
        self.reactor.advance(REFUSED_PAUSE)
        for _ in range(3):
            self.assertEqual(self.error().code, 3)
        self.assertEqual(len(self.paths()), 1)
        self.password.write_text("perch")
        self.error()
        self.assertEqual(len(self.paths()), 1)

    def test_no_password(self) -> None:
        """A password file that cannot be used is named."""
        self.password.chmod(0o644)
        self.assertIn(f"password-file: {self.password}: other users", str(self.error()))
        self.assertEqual(self.paths(), [])

    def test_idle_connection(self) -> None:
        """A connection that was closed while it was idle is tried again, once."""
        self.agent.answers = [(200, b'{"token":"one"}'), IDLE, (200, EMPTY)]
        self.successResultOf(self.ask())
        self.agent.answers = [IDLE, IDLE]
        self.assertIn("Connection was closed", str(self.error()))

    def test_unreachable(self) -> None:
        """A failure to connect is an error in one line."""
        self.agent.answers = [ConnectionRefusedError()]
        self.assertIn("refused", str(self.error()))
        self.agent.answers = [ResponseNeverReceived([Failure(ValueError("a\nb"))])]
        self.assertEqual(str(self.error()), r"'a\nb'")

    def test_not_a_gateway(self) -> None:
        """What another server says is in the error."""
        self.agent.answers = [(404, b"404 page not found\n")]
        self.assertEqual(str(self.error()), "HTTP status 404: 404 page not found")

    def test_timeout(self) -> None:
        """A member that does not answer is given up."""
        self.agent.answers = [None]
        asking = self.ask()
        self.reactor.advance(5)
        failure = self.failureResultOf(asking, EtcdError)
        self.assertEqual(failure.getErrorMessage(), "no answer within 5 s")
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ConnectionTests(SynchronousTestCase):
    """The connections of a gateway."""

    def setUp(self) -> None:
        self.location = EtcdLocation.parse("etcd:unix:/nope/sock?prefix=/h1/")
        self.reactor = MemoryDevLXDReactor()
        (address,) = self.location.endpoints
        self.gateway = EtcdGateway(self.location, address, self.reactor)

    def connect(self) -> tuple[StringTransport, IProtocol]:
        """Ask for keys; return the connection, which is idle then."""
        asking = self.gateway.range(RangeRequest(KEYS), 1024, 5)
        _, factory, *_ = self.reactor.unixClients.pop()
        protocol, transport = factory.buildProtocol(None), StringTransport()
        protocol.makeConnection(transport)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(EMPTY)}\r\n\r\n"
        protocol.dataReceived(head.encode() + EMPTY)
        self.successResultOf(asking)
        return transport, protocol

    def test_close(self) -> None:
        """Idle connections are closed, and nothing of them is left."""
        transport, protocol = self.connect()
        closing = self.gateway.close()
        self.assertTrue(transport.disconnecting)
        self.assertNoResult(closing)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(closing)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_close_hanging(self) -> None:
        """A member that does not take part in the end of TLS delays no shutdown."""
        _, protocol = self.connect()
        closing = self.gateway.close()
        self.reactor.advance(CLOSE_TIMEOUT)
        self.successResultOf(closing)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class WatchTests(GatewayTestCase):
    """Watching keys."""

    def setUp(self) -> None:
        super().setUp()
        self.receiver = RecordingWatchReceiver()

    def watch(
        self, *answers: tuple[int, bytes] | Exception | None
    ) -> Callable[[], None]:
        """Begin a watch; return the function that stops it."""
        self.agent.answers = [*answers]
        watch = self.gateway.watch(KEYS, 7, 1024, self.receiver)
        self.assertEqual(self.agent.requests, [])
        self.reactor.advance(0)
        return watch.stop

    def test_lines(self) -> None:
        """Each line is received; empty ones are ignored."""
        stop = self.watch((200, b'{"result":{"created":true}}\n\n{"result":{}}\n'))
        self.assertEqual(len(self.receiver.lines), 2)
        self.assertEqual(
            self.agent.requests[0][2]["create_request"]["start_revision"], "7"
        )
        stop()
        (response,) = self.agent.waiting
        self.assertEqual(response.transport.calls, ["lose"])
        self.assertIsNone(self.receiver.error)

    def test_error_line(self) -> None:
        """An error as the last line is why the watch has ended."""
        self.watch((200, b'{"error":{"grpc_code":14,"message":"no leader"}}'))
        (response,) = self.agent.waiting
        response.end()
        assert self.receiver.error is not None
        self.assertEqual(str(self.receiver.error), "no leader")

    def test_refused(self) -> None:
        """A watch that is refused at once has the error of the response."""
        self.watch((503, b'{"code":14,"message":"no leader"}'))
        assert self.receiver.error is not None
        self.assertEqual(self.receiver.error.code, 14)

    def test_unreachable(self) -> None:
        """A failure to connect is why the watch has ended."""
        self.watch(ConnectionRefusedError())
        self.assertIn("refused", str(self.receiver.error))

    def test_timeout(self) -> None:
        """A member that does not begin the watch is given up."""
        self.watch(None)
        self.reactor.advance(WATCH_TIMEOUT)
        self.assertIn("no answer within", str(self.receiver.error))

    def test_stopped_early(self) -> None:
        """A watch that is stopped before its response begins says nothing."""
        stop = self.watch(None)
        stop()
        self.assertIsNone(self.receiver.error)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
