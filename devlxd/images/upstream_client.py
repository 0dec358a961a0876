# -*- test-case-name: tests.images.test_upstream_client -*-
"""An HTTP client for the REST API of an LXD or Incus, on its UNIX socket."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from attrs import frozen
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IResponse,
)
from zope.interface import implementer

from devlxd.images.image_errors import describe
from devlxd.images.response_reader import ResponseReader
from devlxd.interfaces import IDevLXDReactor, ImageError
from devlxd.limits import CurrentLimits


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
@frozen
class _FixedEndpoint:
    """An endpoint that is used for every URI, and logs no connections."""

    endpoint: IStreamClientEndpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See `IAgentEndpointFactory.endpointForURI`."""
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        cast(Factory, protocolFactory).noisy = False
        connecting: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)
        return connecting


@implementer(IAgent)
@frozen
class _UncompressedAgent:
    """An agent that neither requests nor decompresses compressed responses.

    treq would decompress each chunk without a limit on its size.
    """

    agent: IAgent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See `IAgent.request`."""
        headers = headers.copy() if headers else Headers()
        headers.removeHeader(b"Accept-Encoding")
        requesting = self.agent.request(method, uri, headers, bodyProducer)
        return requesting.addCallback(_without_encoding)


def _without_encoding(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"Content-Encoding")
    return response


class UpstreamClient:
    """A client of an LXD, without cookies, redirects or decompression.

    :param path: the path of LXD's own socket, such as
        ``/var/lib/lxd/unix.socket``.
    :param reactor: for connections and timeouts.
    :param agent: sends the requests; default: one that uses the socket.
    :param limits: how long the LXD may take; default: the usual times.
    """

    def __init__(
        self,
        path: str,
        reactor: IDevLXDReactor,
        agent: IAgent | None = None,
        limits: CurrentLimits | None = None,
    ) -> None:
        self.limits = limits or CurrentLimits()
        self.path = path
        self.reactor = reactor
        if agent is None:
            endpoint = UNIXClientEndpoint(reactor, path)
            agent = Agent.usingEndpointFactory(reactor, _FixedEndpoint(endpoint))
        self._agent = _UncompressedAgent(agent)

    async def get(
        self, path: str, headers: Headers | None = None
    ) -> tuple[IResponse, ResponseReader]:
        """Send a GET request, and wait for the head of the response.

        :param path: the path of the URL, such as ``/1.0/images``.
        :return: the response, and the reader of its body, which the caller has
            to close.
        :raises ImageError: if LXD cannot be reached or does not respond.
        """
        # HTTPClient stores cookies, so each request gets a new one.
        client = HTTPClient(self._agent)
        requesting = client.get(
            f"http://lxd{path}",
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
            # treq uses the global reactor by default.
            reactor=cast(Any, self.reactor),
        )
        limits = self.limits.value
        requesting.addTimeout(limits.lxd_response_timeout, self.reactor, _no_response)
        try:
            response: IResponse = await requesting
        except Exception as error:
            # The errors of connections and of HTTP have no common base class.
            raise ImageError(f"{self.path}: {describe(error)}") from error
        return response, ResponseReader.of(
            response, self.reactor, limits.lxd_read_timeout
        )


def _no_response(result: object, seconds: float) -> NoReturn:
    raise ImageError(f"no response within {seconds:.0f} s")
