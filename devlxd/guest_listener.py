# -*- test-case-name: tests.test_service -*-
"""Listening for guests on one endpoint."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IListeningPort,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from devlxd.guestapi.dialect import Dialect
from devlxd.host.accepting import Acceptor, ListeningSocket
from devlxd.host.listening import address_of, address_text, listen_now
from devlxd.httpserver.connection_limiter import ConnectionLimiter
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import IDevLXDReactor
from devlxd.model import HandedOver, Listener
from devlxd.socket_options import refuse_descriptors


class _UNIXAcceptor:
    """Accepts the connections of a UNIX socket, in place of Twisted's port."""

    def __init__(
        self, listening: socket.socket, site: DevLXDSite, reactor: IDevLXDReactor
    ) -> None:
        refuse_descriptors(listening)
        self._limiter = ConnectionLimiter(site, reactor)
        self._socket = ListeningSocket(fileno=os.dup(listening.fileno()))
        self._acceptor = Acceptor(
            self._socket, self._limiter.connection_accepted, reactor
        )
        self._acceptor.start()

    def close(self) -> None:
        """Stop accepting, and close the connections that are not admitted yet."""
        self._acceptor.stop()
        self._socket.close()
        self._limiter.close()


class GuestListener(Service):
    """A service that listens on one endpoint; stopping it closes its connections."""

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        site: DevLXDSite,
        dialect: Dialect,
        reactor: IDevLXDReactor,
    ) -> None:
        self.endpoint = endpoint
        self.site = site
        self.dialect = dialect
        self._reactor = reactor
        self._unix_acceptor: _UNIXAcceptor | None = None
        self._listening: Deferred[IListeningPort | None] | None = None
        self._address = address_of(endpoint)
        self._is_bound = False

    @property
    def listener(self) -> Listener:
        """The endpoint, for operators."""
        return Listener(self.dialect.name, self._address, self._is_bound)

    def privilegedStartService(self) -> None:
        """See `IService.privilegedStartService`: listen.

        :raises CannotListenError: if listening fails immediately.
        """
        super().privilegedStartService()
        self._listen()

    def startService(self) -> None:
        """See `IService.startService`: listen, unless this service listens already."""
        super().startService()
        self._listen()

    def _listen(self) -> None:
        if self._listening is None:
            listening = listen_now(self.endpoint, self.site)
            self._listening = listening.addCallbacks(self._listened, self._log_failure)

    def _listened(self, port: IListeningPort) -> IListeningPort:
        listening = getattr(port, "socket", None)
        if isinstance(listening, socket.socket) and listening.family == socket.AF_UNIX:
            reader = IReadDescriptor(port, None)
            if reader is not None:
                # The acceptor accepts connections instead of the port.
                self._reactor.removeReader(reader)
            self._unix_acceptor = _UNIXAcceptor(listening, self.site, self._reactor)
        self._address = address_text(port.getHost())
        self._is_bound = True
        self._log.info(
            "{dialect} guests are served at {address}",
            dialect=self.dialect.name,
            address=port.getHost(),
        )
        return port

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure(
            "cannot listen on {endpoint}; {dialect} guests are not served there",
            failure,
            endpoint=self.endpoint,
            dialect=self.dialect.name,
        )

    def hand_over(self) -> Deferred[list[HandedOver]]:
        """Stop accepting, and detach the connections for the next process.

        See `devlxd.service.DevLXDService.hand_over`.
        """
        return succeed([])

    def adopt(self, connections: Iterable[HandedOver]) -> list[HandedOver]:
        """Continue those connections that were accepted at the address of this service.

        :return: the others. They are still the caller's.
        """
        return list(connections)

    def stopService(self) -> Deferred[None]:
        """See `IService.stopService`: stop listening, then close every connection.

        :return: a Deferred that fires when every connection is closed.
        """
        super().stopService()
        listening, self._listening = self._listening, None
        if listening is None:
            return self.site.close_connections()
        # A port that does not listen yet is stopped as soon as it does.
        return listening.addCallback(self._stop)

    def _stop(self, port: IListeningPort | None) -> Deferred[None]:
        self._is_bound = False
        if port is None:
            return self.site.close_connections()
        if self._unix_acceptor is not None:
            self._unix_acceptor.close()
        stopped = maybeDeferred(port.stopListening)
        return stopped.addCallback(lambda _: self.site.close_connections())
