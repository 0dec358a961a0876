# -*- test-case-name: tests.httpserver.test_site -*-
"""The site, which connects Twisted's ports to the request handler."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Site

from devlxd.fast_paths import FastPath, is_on
from devlxd.httpserver.connection_state import ConnectionState
from devlxd.httpserver.handover import Captured, Handover
from devlxd.httpserver.handover_channel import HandoverChannel
from devlxd.httpserver.quick_requests import QuickChannel
from devlxd.httpserver.registry import ConnectionRegistry
from devlxd.httpserver.request import DevLXDRequest
from devlxd.httpserver.server import Server
from devlxd.interfaces import IAdmission, IConnection, IRequestHandler
from devlxd.limits import CurrentLimits


class ContinuingFactory(Factory):
    """A factory for the channel of one connection of the last process."""

    noisy = False

    def __init__(self, site: DevLXDSite, state: ConnectionState) -> None:
        self._site = site
        self._state = state

    def buildProtocol(self, addr: IAddress | None) -> HandoverChannel:
        """See `IProtocolFactory.buildProtocol`."""
        channel = self._site.buildProtocol(addr)
        channel.state = self._state
        return channel


class DevLXDSite(Site):
    """A site whose channels identify their callers.

    A request handler responds to requests, not a tree of Twisted resources.

    :param handler: responds to requests.
    :param admission: identifies the caller of each connection, by its peer.
    :param reactor: for timeouts.
    :param registry: the connections of all sites that share limits.
    :param wall: returns the time of day, in seconds since 1970; the reactor's
        clock is used for timeouts only.
    :param limits: the limits of connections and requests; default: the usual ones.
    :ivar server: the objects that the connections of this site share.
    """

    # Without the wrapper of Twisted that can switch to HTTP/2: the channel of a request
    # must be the `HandoverChannel` itself.
    protocol = HandoverChannel  # type: ignore[assignment] # without the wrapper
    requestFactory = DevLXDRequest

    def __init__(
        self,
        handler: IRequestHandler,
        admission: IAdmission,
        reactor: IReactorTime,
        registry: ConnectionRegistry[IConnection],
        wall: Callable[[], float] = time.time,
        limits: CurrentLimits | None = None,
    ) -> None:
        super().__init__(Resource(), reactor=reactor)
        if is_on(FastPath.QUESTIONS):
            self.protocol = QuickChannel
        limits = limits or CurrentLimits()
        self.server = Server(handler, admission, registry, reactor, wall, limits)

    def buildProtocol(  # type: ignore[override] # without the wrapper, see above
        self, addr: IAddress | None
    ) -> HandoverChannel:
        """See `IProtocolFactory.buildProtocol`."""
        channel: object = super().buildProtocol(addr)
        assert isinstance(channel, HandoverChannel)
        channel.server = self.server
        limits = self.server.limits.value
        channel.timeOut = limits.request_timeout
        channel.maxHeaders = limits.header_fields
        return channel

    def continuing(self, state: ConnectionState) -> ContinuingFactory:
        """Return a factory for the channel of a connection of the last process."""
        return ContinuingFactory(self, state)

    def hand_over(self) -> Deferred[list[Captured]]:
        """Capture all connections, see `Handover`."""
        return Handover(self.server).start()

    def close_connections(self) -> Deferred[None]:
        """See `Server.close_connections`."""
        return self.server.close_connections()

    # There is no access log. Site's own startFactory would also wake the reactor
    # every second to format the time for it.

    def startFactory(self) -> None:
        """See `Factory.startFactory`: start the handler."""
        self.server.handler.start(self.server)

    def stopFactory(self) -> None:
        """See `Factory.stopFactory`: stop the handler."""
        self.server.handler.stop()

    def log(self, request: http.Request) -> None:
        """See `Site.log`; do nothing."""
