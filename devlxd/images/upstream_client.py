# -*- test-case-name: tests.images.test_upstream_client -*-
"""An HTTP client for the REST API of an LXD or Incus, on its UNIX socket."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from treq.client import HTTPClient
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from devlxd.images.response_reader import ResponseReader
from devlxd.interfaces import IDevLXDReactor, ImageError
from devlxd.limits import CurrentLimits
from devlxd.outgoing_http import FixedEndpoint, UncompressedAgent, describe


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
            agent = Agent.usingEndpointFactory(reactor, FixedEndpoint(endpoint))
        self._agent = UncompressedAgent(agent)

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
