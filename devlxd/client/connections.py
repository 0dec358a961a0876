# -*- test-case-name: tests.client.test_guest -*-
"""The connections of one question, on treq."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    UNKNOWN_LENGTH,
    IAgentEndpointFactory,
    IResponse,
)
from zope.interface import implementer

from devlxd.client.errors import GuestError, ProtocolError, Unavailable
from devlxd.client.exchanges import Question, Request
from devlxd.client.plain_agent import BytesProducer, PlainAgent, headers_of
from devlxd.client.receivers import Collector, Receiver

T = TypeVar("T")

#: How much is read, in bytes, before the head of a response must be complete.
MAX_HEAD = 128 * 1024


class _Connection(ProtocolWrapper):
    """A connection that reads no endless head."""

    factory: _Connector

    def makeConnection(self, transport: ITransport) -> None:
        """See `IProtocol.makeConnection`."""
        self.factory.connections.opened.add(self)
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        connections = self.factory.connections
        if connections.may_read(len(data)):
            super().dataReceived(data)
        if connections.is_closed:
            # The end of a response has put the connection into the pool meanwhile.
            connections.close()

    def loseConnection(self) -> None:
        """See `ITransport.loseConnection`: the HTTP client gives up."""
        self.factory.connections.give_up()
        super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self.factory.connections.opened.discard(self)
        super().connectionLost(reason)


class _Connector(WrappingFactory):
    protocol = _Connection

    def __init__(self, factory: IProtocolFactory, connections: Connections) -> None:
        super().__init__(factory)
        self.connections = connections

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper:
        """See `IProtocolFactory.buildProtocol`."""
        protocol: ProtocolWrapper = super().buildProtocol(addr)
        return protocol


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class Connections:
    """The connections of one question: usually one, which its requests share.

    :param endpoint: what to connect to.
    :ivar opened: the connections that are open.
    :ivar is_closed: whether they were closed.
    """

    is_closed = False

    def __init__(self, reactor: IReactorTime, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self._pool = HTTPConnectionPool(reactor)
        self._client = HTTPClient(
            PlainAgent(Agent.usingEndpointFactory(reactor, self, self._pool)),
            data_to_body_producer=BytesProducer,
        )
        self._head_left: int | None = None
        self._fault: GuestError | None = None
        self.opened: set[_Connection] = set()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See `IAgentEndpointFactory.endpointForURI`."""
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        connecting = self._endpoint.connect(_Connector(protocolFactory, self))
        return connecting.addCallback(_unwrapped)

    async def ask(self, question: Question[T]) -> T:
        """Send the requests of a question, and return its result."""
        try:
            request = next(question)
            while True:
                collector = Collector()
                await self.exchange(request, collector)
                request = question.send(collector.response())
        except StopIteration as finished:
            result: T = finished.value
            return result

    async def exchange(self, request: Request, receiver: Receiver) -> None:
        """Send a request, and pass the response on.

        There is no limit of time; the caller cancels. Afterwards, or after several
        requests one after the other, call `close`.

        :raises Unavailable: if there is no server, or the connection is lost.
        :raises ProtocolError: if the response is not HTTP.
        """
        response = await self._head(request)
        length = None if response.length is UNKNOWN_LENGTH else int(response.length)
        receiver.begin(response.code, headers_of(response), length)
        body = _Body(receiver)
        response.deliverBody(body)
        await body.ended

    def may_read(self, length: int) -> bool:
        """Return whether a connection may read the next ``length`` bytes."""
        if self._head_left is None:
            return True
        # A single read may contain a short head and much of the body.
        if self._head_left <= 0:
            self._fault = ProtocolError(
                f"the head of a response is longer than {MAX_HEAD} bytes"
            )
            self.close()
            return False
        self._head_left -= length
        return True

    def give_up(self) -> None:
        """Remember that the head is not HTTP, for example if a line is too long."""
        if self._head_left is not None:
            self._fault = self._fault or ProtocolError("the answer is not HTTP")

    def close(self) -> None:
        """Close all connections."""
        self.is_closed = True
        for connection in list(self.opened):
            cast(ITCPTransport, connection.transport).abortConnection()
        # Ends the timeouts of idle connections.
        self._pool.closeCachedConnections()

    async def _head(self, request: Request) -> IResponse:
        self._head_left, self._fault = MAX_HEAD, None
        try:
            response = await _undisguised(self._send(request))
        except (CancelledError, GuestError):
            raise
        except Exception as error:
            raise self._fault or guest_error(error) from None
        self._head_left = None
        return response

    def _send(self, request: Request) -> Deferred[IResponse]:
        sending = self._client.request(
            request.method,
            f"http://lxd{request.path}",
            headers=_headers_for(request),
            data=request.body,
            allow_redirects=False,
            unbuffered=True,
        )
        return cast("Deferred[IResponse]", sending)


class _Body(Protocol):
    """Passes a body to a receiver.

    :ivar ended: fires when the body is complete; fails if it cannot be.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        if self.ended.called:
            return
        try:
            self._receiver.receive(data)
        except Exception:
            self.ended.errback(Failure())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        if self.ended.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.ended.callback(None)
        else:
            self.ended.errback(guest_error(cast(Exception, reason.value)))


def guest_error(error: Exception) -> GuestError:
    """Return the exception of this library for one of Twisted's HTTP client."""
    if isinstance(error, GuestError):
        return error
    reasons = [failure.value for failure in getattr(error, "reasons", [])]
    if isinstance((reasons or [error])[0], ConnectionClosed):
        return Unavailable("the server has closed the connection without an answer")
    return ProtocolError("the answer is not HTTP")


async def _undisguised(waiting: Deferred[T]) -> T:
    """Return the result of ``waiting``. If this is cancelled, so is ``waiting``.

    :raises CancelledError: if it is cancelled; the HTTP client would raise an error
        of its own.
    """
    result: Deferred[T] = Deferred()
    waiting.addBoth(result.callback)
    try:
        return await result
    finally:
        waiting.cancel()


def _unwrapped(connection: IProtocol) -> IProtocol:
    """Return the HTTP client's protocol, which the agent expects to get."""
    assert isinstance(connection, ProtocolWrapper)
    protocol: IProtocol = connection.wrappedProtocol
    return protocol


def in_time(
    coroutine: Coroutine[Deferred[Any], Any, T], reactor: IReactorTime, timeout: float
) -> Deferred[T]:
    """Run a coroutine.

    :param timeout: after how many seconds it is cancelled.
    :raises Unavailable: if it is cancelled then.
    """

    def late(result: T | Failure, seconds: float) -> T:
        if not isinstance(result, Failure):
            return result
        raise Unavailable(f"no answer within {seconds:g} s")

    running = Deferred.fromCoroutine(coroutine)
    return running.addTimeout(timeout, reactor, onTimeoutCancel=late)


def _headers_for(request: Request) -> Headers:
    """Return the headers of a request, as bytes.

    Twisted caches their names: with text and bytes of the same name in one process,
    each use of them would be a `BytesWarning`.
    """
    pairs = request.headers.items()
    return Headers({name.encode(): [value.encode()] for name, value in pairs})
