# -*- test-case-name: tests.test_outgoing_http -*-
"""What all HTTP clients of devlxd share: quiet endpoints, no compression, errors."""

from __future__ import annotations

from typing import cast

from attrs import frozen
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.web.client import URI, RequestTransmissionFailed, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IResponse,
)
from zope.interface import implementer

from devlxd.printable_text import printable


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
@frozen
class FixedEndpoint:
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
class UncompressedAgent:
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


def describe(error: BaseException | None) -> str:
    """Return in a few words why an HTTP request has failed, in one line."""
    reasons = getattr(error, "reasons", None)
    if isinstance(error, (ResponseFailed, RequestTransmissionFailed)) and reasons:
        return describe(reasons[0].value)
    if isinstance(error, TLSError):
        return printable(f"TLS: {_tls_reason(error)}")
    return printable(str(error)) or type(error).__name__


def _tls_reason(error: TLSError) -> str:
    """Return the reason that OpenSSL reports, such as ``certificate verify failed``."""
    queue = error.args[0] if error.args else ()
    reasons = [entry[-1] for entry in queue if isinstance(entry, tuple) and entry]
    return str(reasons[0]) if reasons else "the connection failed"
