# -*- test-case-name: tests.httpserver.test_site -*-
"""The state that all connections of one site share."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import NOT_MODIFIED, datetimeToString
from zope.interface import implementer

from devlxd.fast_paths import FastPath, is_on
from devlxd.httpserver.autobahn_private_apis import websocket_factory
from devlxd.httpserver.registry import ConnectionRegistry
from devlxd.httpserver.responses import CLOSE, Headers, Response
from devlxd.httpserver.stream_checks import StreamChecks
from devlxd.interfaces import IAdmission, IConnection, IConnections, IRequestHandler
from devlxd.limits import CurrentLimits


@implementer(IConnections)
class Server:
    """The objects that the connections of a site share.

    :ivar handler: responds to requests.
    :ivar admission: identifies callers.
    :ivar registry: the connections of all sites that share limits with this one.
    :ivar reactor: for timeouts.
    :ivar wall: returns the time of day, in seconds since 1970.
    :ivar limits: the limits of connections and requests.
    :ivar websockets: the factory that all websockets share.
    :ivar sends_files: whether the kernel sends data of files.
    """

    def __init__(
        self,
        handler: IRequestHandler,
        admission: IAdmission,
        registry: ConnectionRegistry[IConnection],
        reactor: IReactorTime,
        wall: Callable[[], float],
        limits: CurrentLimits,
    ) -> None:
        self.handler = handler
        self.admission = admission
        self.registry = registry
        self.reactor = reactor
        self.wall = wall
        self.limits = limits
        self.websockets = websocket_factory(reactor)
        self.sends_files = is_on(FastPath.FILES)
        self._checks: dict[float, StreamChecks] = {}
        self._closed: list[Deferred[None]] = []
        self._date_second: int | None = None
        self._date = (b"Date", b"")

    def headers_of(self, response: Response) -> Headers:
        """Return all headers that are sent with ``response``."""
        headers = response.headers + CLOSE if response.closes else response.headers
        if response.code == NOT_MODIFIED:
            return (*headers, self.date())
        length = (b"Content-Length", b"%d" % len(response.body))
        return (*headers, length, self.date())

    def date(self) -> tuple[bytes, bytes]:
        """Return the ``Date`` header, which is rendered at most once a second."""
        second = int(self.wall())
        if second != self._date_second:
            self._date_second = second
            self._date = (b"Date", datetimeToString(second))
        return self._date

    def checks(self, interval: float) -> StreamChecks:
        """Return the checks of all streams that are checked at the same intervals."""
        checks = self._checks.get(interval)
        if checks is None:
            checks = self._checks[interval] = StreamChecks(self.reactor, interval)
        return checks

    def add(self, connection: IConnection, owner: Hashable) -> bool:
        """Add a connection; return ``False`` if its owner has too many already."""
        return self.registry.add(owner, connection)

    def keep(self, connection: IConnection, owner: Hashable) -> None:
        """Add a connection of the last process, however many its owner has."""
        self.registry.keep(owner, connection)

    def remove(self, connection: IConnection, owner: Hashable) -> None:
        """Remove a connection."""
        self.registry.remove(owner, connection)
        self._fire_if_closed()

    def of(self, owner: Hashable) -> list[IConnection]:
        """See `IConnections.of`."""
        return [one for one in self.registry.of(owner) if one.server is self]

    def all(self) -> list[IConnection]:
        """See `IConnections.all`."""
        return [one for one in self.registry.all() if one.server is self]

    def close_connections(self) -> Deferred[None]:
        """Close every connection, including those of clients that do not read.

        :return: a Deferred that fires when the last connection is closed.
        """
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        for connection in self.all():
            connection.close()
        self._fire_if_closed()
        return closed

    def _fire_if_closed(self) -> None:
        if self._closed and not self.all():
            closed, self._closed = self._closed, []
            for deferred in closed:
                deferred.callback(None)
