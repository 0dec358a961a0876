# -*- test-case-name: tests.etcd.test_gateway -*-
"""A client of the JSON gateway of one member of etcd."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from attrs import field, frozen
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.web.client import Agent, HTTPConnectionPool, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from devlxd.client.plain_agent import BytesProducer
from devlxd.etcd.bodies import whole_body
from devlxd.etcd.endpoints import client_endpoint
from devlxd.etcd.errors import (
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    UNAUTHENTICATED,
    EtcdError,
)
from devlxd.etcd.interfaces import IEtcdGateway, IWatch, IWatchReceiver
from devlxd.etcd.location import EtcdEndpoint, EtcdLocation
from devlxd.etcd.messages import (
    KeyRange,
    RangeAnswer,
    RangeRequest,
    authenticate_request,
    parse_error,
    parse_token,
    watch_request,
)
from devlxd.etcd.secret_files import read_password
from devlxd.etcd.watching import Watch
from devlxd.interfaces import IDevLXDReactor
from devlxd.outgoing_http import FixedEndpoint, UncompressedAgent, describe

#: The maximum length of an error, and of the answer with a token, in bytes.
MAX_SHORT_ANSWER = 64 * 1024

#: How long a member may take to begin a watch, in seconds.
WATCH_TIMEOUT = 5.0

#: How long closing idle connections may take, in seconds. With TLS, a member that hangs
#: would delay it for ever.
CLOSE_TIMEOUT = 1.0

#: How long a password that was refused is not sent again, in seconds: etcd needs about
#: 0.1 s of CPU time to refuse it.
REFUSED_PAUSE = 15.0

#: Requires that the member has a leader: one that is cut off does not know.
_HAS_LEADER = b"Grpc-Metadata-hasleader", [b"true"]

#: How long etcd itself may work on a request. A process that is stopped does not
#: answer because of it.
_GRPC_TIMEOUT = b"Grpc-Timeout", [b"2S"]


@frozen
class _Refusal:
    """A password that etcd has refused.

    :ivar password: the password.
    :ivar end: until when it is not sent again, in seconds of the reactor.
    :ivar text: what etcd said.
    """

    password: str = field(repr=False)
    end: float
    text: str

    def check(self, password: str, now: float) -> None:
        """Check that a password may be sent.

        :raises EtcdError: if it is the same one, and it is too early.
        """
        if password == self.password and now < self.end:
            raise EtcdError(self.text, INVALID_ARGUMENT)


@implementer(IEtcdGateway)
class EtcdGateway:
    """See `IEtcdGateway`. The token is kept, and renewed when etcd forgets it.

    :param location: the user, and the files for TLS. They are read when they are
        needed.
    :param address: the member.
    :param reactor: for connections and timeouts.
    :param agent: sends the requests; default: one that connects to ``address``.
    """

    def __init__(
        self,
        location: EtcdLocation,
        address: EtcdEndpoint,
        reactor: IDevLXDReactor,
        agent: IAgent | None = None,
    ) -> None:
        self.endpoint = address.text
        self._location = location
        self._reactor = reactor
        self._pool = HTTPConnectionPool(cast(Any, reactor), persistent=True)
        if agent is None:
            endpoint = FixedEndpoint(client_endpoint(reactor, location, address))
            agent = Agent.usingEndpointFactory(cast(Any, reactor), endpoint, self._pool)
        self._agent = UncompressedAgent(agent)
        host = f"[{address.host}]" if ":" in address.host else address.host or "etcd"
        self._url = (
            f"http://{host}:{address.port}" if address.port else f"http://{host}"
        )
        self._token = ""
        self._refusal: _Refusal | None = None

    def __repr__(self) -> str:
        """Return the class and the endpoint."""
        return f"<EtcdGateway {self.endpoint}>"

    def range(
        self, request: RangeRequest, max_size: int, timeout: float
    ) -> Deferred[RangeAnswer]:
        """See `IEtcdGateway.range`."""
        asking = Deferred.fromCoroutine(self._range(request, max_size))
        return asking.addTimeout(timeout, self._reactor, _no_answer)

    async def _range(self, request: RangeRequest, max_size: int) -> RangeAnswer:
        body = await self._authenticated("/v3/kv/range", request.as_json(), max_size)
        return RangeAnswer.parse(body, request.keys_only)

    async def _authenticated(self, path: str, body: bytes, max_size: int) -> bytes:
        """Send a request with a token, and once again with a new one if necessary."""
        had_token = bool(self._token)
        await self._renew_token()
        try:
            return await self._unary(path, body, max_size)
        except EtcdError as error:
            if error.code not in (INVALID_ARGUMENT, UNAUTHENTICATED) or not had_token:
                raise
        self._token = ""
        await self._renew_token()
        return await self._unary(path, body, max_size)

    async def _renew_token(self) -> None:
        """Get a token, unless there is one or etcd needs none."""
        if self._token or not self._location.user:
            return
        try:
            password = read_password(self._location.password_file)
        except ValueError as error:
            raise EtcdError(f"password-file: {error}") from None
        if self._refusal is not None:
            self._refusal.check(password, self._reactor.seconds())
        request = authenticate_request(self._location.user, password)
        try:
            answer = await self._unary(
                "/v3/auth/authenticate", request, MAX_SHORT_ANSWER
            )
            self._token = parse_token(answer)
        except EtcdError as error:
            if error.code == INVALID_ARGUMENT:
                end = self._reactor.seconds() + REFUSED_PAUSE
                self._refusal = _Refusal(password, end, str(error))
            # Authentication is off: etcd refuses tokens, and gives none.
            if error.code != FAILED_PRECONDITION:
                raise

    async def _unary(self, path: str, body: bytes, max_size: int) -> bytes:
        """Send a request, and return the body of the response.

        :raises EtcdError: if there is none, or it is an error.
        """
        try:
            response = await self._post(path, body)
        except ResponseNeverReceived as error:
            if not _was_idle(error):
                raise EtcdError(describe(error)) from None
            # etcd may have closed the idle connection.
            response = await self._post_again(path, body)
        if response.code != 200:
            raise parse_error(
                response.code, await whole_body(response, MAX_SHORT_ANSWER)
            )
        return await whole_body(response, max_size)

    async def _post_again(self, path: str, body: bytes) -> IResponse:
        try:
            return await self._post(path, body)
        except ResponseNeverReceived as error:
            raise EtcdError(describe(error)) from None

    async def _post(self, path: str, body: bytes) -> IResponse:
        """Send a request once.

        :raises ResponseNeverReceived: if there is no response on this connection.
        :raises EtcdError: for any other failure.
        """
        headers = Headers(dict([_HAS_LEADER, _GRPC_TIMEOUT]))
        try:
            return await self._send(path, body, headers)
        except (ResponseNeverReceived, EtcdError, CancelledError):
            raise
        except Exception as error:
            # The errors of connections and of HTTP have no common base class.
            raise EtcdError(describe(error)) from None

    def _send(self, path: str, body: bytes, headers: Headers) -> Deferred[IResponse]:
        """Send a request with the token.

        :return: a Deferred that fires with the head of the response. It fails with any
            error of Twisted's HTTP client.
        """
        if self._token:
            headers.setRawHeaders(b"Authorization", [self._token.encode("ascii")])
        # HTTPClient stores cookies, so each request gets a new one.
        sending = HTTPClient(self._agent).post(
            f"{self._url}{path}",
            data=cast(Any, BytesProducer(body)),
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
            # treq uses the global reactor by default.
            reactor=cast(Any, self._reactor),
        )
        return cast("Deferred[IResponse]", sending)

    def watch(
        self,
        keys: KeyRange,
        start_revision: int,
        max_size: int,
        receiver: IWatchReceiver,
    ) -> IWatch:
        """See `IEtcdGateway.watch`."""
        body = watch_request(keys, start_revision)
        return Watch(
            lambda: self._head_of_watch(body), self._reactor, receiver, max_size
        )

    def _head_of_watch(self, body: bytes) -> Deferred[IResponse]:
        sending = self._send("/v3/watch", body, Headers(dict([_HAS_LEADER])))
        return sending.addTimeout(WATCH_TIMEOUT, self._reactor, _no_answer)

    def close(self) -> Deferred[None]:
        """See `IEtcdGateway.close`."""
        closed: Deferred[None] = Deferred()
        closed.addTimeout(CLOSE_TIMEOUT, self._reactor, lambda *_: None)
        closing: Deferred[object] = self._pool.closeCachedConnections()
        # It is not cancelled: the connections would log that.
        closing.addBoth(lambda _: None if closed.called else closed.callback(None))
        return closed


def _was_idle(error: ResponseNeverReceived) -> bool:
    """Return whether a connection was closed before a response began."""
    return any(reason.check(ConnectionDone, ConnectionLost) for reason in error.reasons)


def _no_answer(result: object, seconds: float) -> NoReturn:
    raise EtcdError(f"no answer within {seconds:g} s")
