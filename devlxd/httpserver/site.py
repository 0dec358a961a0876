# -*- test-case-name: tests.httpserver.test_site -*-
"""The site of a dialect: who is let in, and who is sent away."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.logger import Logger
from twisted.web import http
from twisted.web.server import Site
from zope.interface import implementer

from devlxd.guestapi.dialects import Dialect
from devlxd.guestapi.gate import Gate
from devlxd.guestapi.image_export import Downloads
from devlxd.guestapi.resources import resource_tree
from devlxd.guestapi.responses import Headers, Response, ResponseCache
from devlxd.httpserver.channel import IDLE_TIMEOUT, REQUEST_TIMEOUT, GuestChannel
from devlxd.httpserver.registry import MAX_CONNECTIONS, ConnectionRegistry
from devlxd.httpserver.request import GuestRequest
from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IEventBus,
    IPeerSource,
    IRunObserver,
    IStoreObserver,
    NotInContainer,
)
from devlxd.loglimit import RateLimitedLogger
from devlxd.model import Caller, Container
from devlxd.turns import Turns

#: For how long a connection that cannot be placed waits for the store to be
#: loaded, in seconds.
LOADING_TIMEOUT = 3.0


@implementer(IStoreObserver, IRunObserver)
class DevLXDSite(Site):
    """The site of one dialect.

    While it is listened for, it closes the connections of a container that
    goes, is made anew under its name, or comes to its run's end: who called
    from one run of a container is nobody to the next.

    :param dialect: the generation of the API that it speaks.
    :param store: the containers that may ask.
    :param identifier: finds out who asks.
    :param peers: tells what the kernel says of who asks.
    :param reactor: for timeouts.
    :param registry: the connections of all sites that share their limits; by
        default of this one alone.
    :param bus: passes events on; without one there are none.
    :param downloads: the images that can be downloaded; without it there are
        none.
    :param wall: tells the time as guests are told it, in seconds since 1970;
        the reactor's clock only has to be good for waiting.
    """

    # Without the wrapper that would switch to HTTP/2: what is asked of a request's
    # channel must be the channel itself.
    protocol = GuestChannel  # type: ignore[assignment]
    requestFactory = GuestRequest
    _log = Logger()

    def __init__(
        self,
        dialect: Dialect,
        store: IContainerStore,
        identifier: ICallerIdentifier,
        peers: IPeerSource,
        reactor: IReactorTime,
        registry: ConnectionRegistry[GuestChannel] | None = None,
        bus: IEventBus | None = None,
        downloads: Downloads | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._cache = ResponseCache()
        tree = resource_tree(dialect, self._cache, reactor, bus, downloads)
        self._gate = Gate(dialect, store, tree)
        super().__init__(self._gate, timeout=REQUEST_TIMEOUT, reactor=reactor)
        self.dialect = dialect
        self.wall = wall
        self._dated: int | None = None
        self._store = store
        self._identifier = identifier
        self._peers = peers
        self.registry = registry or ConnectionRegistry(
            Turns(reactor), reactor, MAX_CONNECTIONS
        )
        self._is_loading = False
        self._closed: list[Deferred[None]] = []
        self._limited_log = RateLimitedLogger(self._log, reactor)

    def headers_of(self, answer: Response) -> Headers:
        """Return all the headers that ``answer`` is sent with."""
        length = (b"Content-Length", b"%d" % len(answer.body))
        return (*answer.headers, length, self.date())

    def date(self) -> tuple[bytes, bytes]:
        """Return the header that every answer has; it is the same for a second."""
        second = int(self.wall())
        if second != self._dated:
            self._dated = second
            self._date = (b"Date", http.datetimeToString(second))
        return self._date

    def caller_of(self, transport: ITransport) -> Caller | None:
        """Find out who is at the other end; the log hears why if that fails."""
        try:
            with self._peers.hold(transport) as peer:
                caller = self._identifier.identify(peer)
                self.registry.processes.put(peer.pid, caller.container)
                return caller
        except NotInContainer as refused:
            if not self._is_loading:
                self._limited_log.warn(
                    "not in a container: {reason}",
                    of=("unplaced", refused.kind),
                    reason=str(refused),
                )
        except Exception:
            self._log.failure("a peer could not be placed")
        return None

    def admit(self, channel: GuestChannel) -> bool:
        """Count a connection in, unless its container has too many."""
        if self.registry.add(channel.owner, channel):
            return True
        self._limited_log.warn(
            "too many connections of {container}",
            of=("crowded", channel.owner),
            container=channel.owner,
        )
        return False

    def release(self, channel: GuestChannel) -> None:
        """Count a connection out."""
        self.registry.remove(channel.owner, channel)
        self._tell_if_closed()

    def when_loaded(self) -> Deferred[None] | None:
        """Wait until it is known which containers there are, but not for long.

        :return: ``None`` when that is so already. Who goes must cancel it.
        """
        if not self._is_loading:
            return None
        loaded = self._store.loaded()
        return loaded.addTimeout(
            LOADING_TIMEOUT, self.reactor, onTimeoutCancel=lambda *_: None
        )

    def close_connections(self) -> Deferred[None]:
        """Close every connection, also those whose guest does not read.

        :return: a Deferred that fires when the last one is closed.
        """
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        for channel in self._channels():
            channel.close()
        self._tell_if_closed()
        return closed

    def _channels(self) -> list[GuestChannel]:
        return [one for one in self.registry.all() if one.site is self]

    def _tell_if_closed(self) -> None:
        if self._closed and not self._channels():
            waiting, self._closed = self._closed, []
            for closed in waiting:
                closed.callback(None)

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        if new is None:
            self._cache.forget(name)
        for channel in self.registry.of(name):
            caller = channel.caller
            if caller is None or channel.site is not self:
                continue
            if new is None or (old is not None and new.is_another_than(old)):
                self._see_off(channel)
            elif self._gate.refusal_for(caller, new) is not None:
                self._end_stream(channel)

    def _see_off(self, channel: GuestChannel) -> None:
        """Close a connection to a container that is no more.

        The bus has some last words for a stream, and ends it itself.
        """
        if channel.only_listens:
            channel.abort_within(IDLE_TIMEOUT)
        else:
            channel.close()

    def _end_stream(self, channel: GuestChannel) -> None:
        """End what was let through the gate when it was still open."""
        if channel.stream is not None:
            channel.close()

    def ended(self, run: int) -> None:
        """See `IRunObserver.ended`."""
        for channel in self._channels():
            if channel.caller is not None and channel.caller.run == run:
                channel.close()

    # There is no access log: what a guest asks for is nobody's business, and
    # Site would wake the reactor every second to know the time for it.

    def startFactory(self) -> None:
        """Hear of containers that go."""
        self._is_loading = True
        self._store.loaded().addCallback(self._loaded)
        self._store.watch(self)
        self._identifier.watch(self)

    def _loaded(self, _: object) -> None:
        self._is_loading = False

    def stopFactory(self) -> None:
        """Hear of them no more."""
        self._store.unwatch(self)
        self._identifier.unwatch(self)

    def log(self, request: http.Request) -> None:
        """Log no access."""
