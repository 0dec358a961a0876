# -*- test-case-name: tests.admin.test_site -*-
"""The site of the operator's socket: routing, limits and errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Site

from devlxd.admin.access import is_own_host
from devlxd.admin.request import AdminRequest
from devlxd.admin.resource import AdminResource
from devlxd.admin.response_cache import ResponseCache
from devlxd.admin.responses import AdminError, AdminResponse, error_response

#: The maximum number of open connections of one endpoint. If there are more, the oldest
#: one that waits for its client is aborted.
MAX_CONNECTIONS = 64

#: Within how many seconds a whole request must arrive, and its response be read.
REQUEST_TIMEOUT = 30

#: For how long a connection may take to close when devlxd stops, in seconds.
CLOSE_TIMEOUT = 1


class AdminChannel(http.HTTPChannel):
    """One connection, for one request.

    A client that does not read can only be sent one response.
    """

    site: AdminSite
    _deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """See `IProtocol.connectionMade`."""
        super().connectionMade()
        self._set_deadline(REQUEST_TIMEOUT)

    def _set_deadline(self, seconds: float) -> None:
        self.request_received()
        self._deadline = self.site.reactor.callLater(seconds, self._expire)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for the client to send its request, or to read."""
        return self._deadline is not None

    def abort(self) -> None:
        """Abort the connection."""
        self.request_received()
        self._expire()

    def _expire(self) -> None:
        self._deadline = None
        transport: Any = self.transport
        transport.abortConnection()

    def request_received(self) -> None:
        """Called when the request is complete: its response may take any time."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def loseConnection(self) -> None:
        """See `HTTPChannel.loseConnection`; abort it if the client does not read."""
        self._set_deadline(REQUEST_TIMEOUT)
        super().loseConnection()

    def close(self) -> None:
        """Close the connection; abort it if that takes longer than a second."""
        self.loseConnection()
        self._set_deadline(CLOSE_TIMEOUT)

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:
        """See `HTTPChannel.checkPersistence`: close after the response."""
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self.request_received()
        self.site.remove(self)
        super().connectionLost(reason)


class AdminSite(Site):
    """The site of one endpoint.

    :param routes: the resources by their paths. In the last segment of a path, ``*``
        stands for any text.
    :param reactor: for timeouts.
    :param is_tcp: whether every local user can connect: then only public resources are
        served, to requests for this host.
    :ivar connections: the open connections.
    """

    protocol = AdminChannel  # type: ignore[assignment] # without the wrapper for HTTP/2
    requestFactory = AdminRequest
    _log = Logger()

    def __init__(
        self,
        routes: Mapping[str, AdminResource],
        reactor: IReactorTime,
        is_tcp: bool = False,
    ) -> None:
        super().__init__(Resource(), timeout=REQUEST_TIMEOUT, reactor=reactor)
        self._routes = routes
        self._is_tcp = is_tcp
        self._cache = ResponseCache(reactor)
        # In the order in which they were made.
        self.connections: dict[AdminChannel, None] = {}
        self._closed: list[Deferred[None]] = []

    def buildProtocol(  # type: ignore[override] # without the wrapper
        self, addr: IAddress | None
    ) -> AdminChannel | None:
        """See `IProtocolFactory.buildProtocol`; ``None`` closes the connection."""
        if len(self.connections) >= MAX_CONNECTIONS and not self._abort_oldest():
            return None
        channel: object = super().buildProtocol(addr)
        assert isinstance(channel, AdminChannel)
        self.connections[channel] = None
        return channel

    def _abort_oldest(self) -> bool:
        """Abort a connection that waits for its client; return whether there is one.

        Otherwise one local user could keep all others out.
        """
        for channel in self.connections:
            if channel.is_waiting:
                del self.connections[channel]
                channel.abort()
                return True
        return False

    # There is no access log. Site's own startFactory would also wake the reactor
    # every second to format the time for it.

    def startFactory(self) -> None:
        """See `Factory.startFactory`; do nothing."""

    def stopFactory(self) -> None:
        """See `Factory.stopFactory`; do nothing."""

    def log(self, request: http.Request) -> None:
        """See `Site.log`; do nothing."""

    def remove(self, channel: AdminChannel) -> None:
        """Called when a connection is closed."""
        self.connections.pop(channel, None)
        if not self.connections:
            closed, self._closed = self._closed, []
            for deferred in closed:
                deferred.callback(None)

    def close_connections(self) -> Deferred[None]:
        """Close all connections.

        :return: a Deferred that fires when the last one is closed.
        """
        if not self.connections:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        for channel in list(self.connections):
            channel.close()
        return closed

    def respond(self, request: AdminRequest) -> None:
        """Respond to a complete request."""
        try:
            response = self._respond(request)
        except AdminError as error:
            response = error_response(error.code, str(error))
        except Exception:
            self._log.failure("a request of an operator failed")
            response = error_response(http.INTERNAL_SERVER_ERROR, "internal error")
        if response is not None:
            request.send(response)

    def _respond(self, request: AdminRequest) -> AdminResponse | None:
        self._check_host(request)
        resource = self._resource_for(request)
        method = request.method.decode("latin-1")
        if method not in resource.methods:
            allowed = (("Allow", ", ".join(resource.methods)),)
            return error_response(http.NOT_ALLOWED, "method not allowed", allowed)
        if not self._is_tcp:
            return resource.respond(request)
        # A response to HEAD is the same until it is sent.
        key = request.path, resource.variant(request)
        return self._cache.get(key, lambda: resource.respond(request))

    def _check_host(self, request: AdminRequest) -> None:
        if self._is_tcp:
            host = request.header("Host") or ""
            if not is_own_host(host, request.getHost().host):
                raise AdminError(http.FORBIDDEN, "the host is not this one")

    def _resource_for(self, request: AdminRequest) -> AdminResource:
        """Return the resource for the path of a request.

        :raises AdminError: if there is none.
        """
        path = request.path.decode("latin-1")
        parent, _, name = path.rpartition("/")
        resource = self._routes.get(path) if name != "*" else None
        if resource is None and name:
            resource = self._routes.get(f"{parent}/*")
            request.name = unquote(name)
        if resource is None or (self._is_tcp and not resource.is_public):
            raise AdminError(http.NOT_FOUND, "not found")
        return resource
