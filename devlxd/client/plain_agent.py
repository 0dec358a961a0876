# -*- test-case-name: tests.client.test_guest -*-
"""The agent and the bodies of requests with which treq sends them."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from devlxd.client.receivers import check_encoding


@implementer(IAgent)
class PlainAgent:
    """An agent that neither asks for nor accepts compressed responses, as treq does."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See `IAgent.request`."""
        plain = Headers() if headers is None else headers.copy()
        plain.setRawHeaders(b"accept-encoding", [b"identity"])
        sending = self._agent.request(method, uri, plain, bodyProducer)
        return sending.addCallback(_plain)


@implementer(IBodyProducer)
class BytesProducer:
    """The body of a request. treq's producer uses the global reactor."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See `IBodyProducer.startProducing`."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """See `IBodyProducer.pauseProducing`."""

    def resumeProducing(self) -> None:
        """See `IBodyProducer.resumeProducing`."""

    def stopProducing(self) -> None:
        """See `IBodyProducer.stopProducing`."""


def headers_of(response: IResponse) -> Mapping[str, str]:
    """Return the headers by their names in lower case; of repeated ones the last."""
    return {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
    }


def _plain(response: IResponse) -> IResponse:
    """Return a response that is not compressed.

    :raises ProtocolError: if it is.
    """
    check_encoding(headers_of(response))
    return response
