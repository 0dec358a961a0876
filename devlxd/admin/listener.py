# -*- test-case-name: tests.admin.test_listener -*-
"""Listening for operators on one endpoint."""

from __future__ import annotations

import os
import socket

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from devlxd.admin.site import AdminSite
from devlxd.host.accepting import Acceptor, ListeningSocket
from devlxd.host.adopted import AdoptedPort
from devlxd.host.listening import address_text, listen_now
from devlxd.interfaces import IDevLXDReactor


class AdminListener(Service):
    """A service that listens on one endpoint for operators.

    :param endpoint: the endpoint.
    :param site: responds there.
    :param reactor: accepts the connections of a socket that systemd has opened.
    """

    _log = Logger()

    def __init__(
        self, endpoint: IStreamServerEndpoint, site: AdminSite, reactor: IDevLXDReactor
    ) -> None:
        self._endpoint = endpoint
        self._site = site
        self._reactor = reactor
        self._acceptor: Acceptor | None = None
        self._listening: Deferred[IListeningPort | None] | None = None

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
            listening = listen_now(self._endpoint, self._site)
            self._listening = listening.addCallbacks(self._listened, self._log_failure)

    def _listened(self, port: IListeningPort) -> IListeningPort:
        if isinstance(port, AdoptedPort):
            # Such a port does not accept connections itself.
            listening = ListeningSocket(fileno=os.dup(port.socket.fileno()))
            self._acceptor = Acceptor(listening, self._accepted, self._reactor)
            self._acceptor.start()
        self._log.info(
            "operators are served at {address}", address=address_text(port.getHost())
        )
        return port

    def _accepted(self, connection: socket.SocketType) -> None:
        connection.setblocking(False)
        self._reactor.adoptStreamConnection(
            connection.fileno(),
            socket.AF_UNIX,
            self._site,  # type: ignore[arg-type] # Twisted types Site as another factory
        )
        connection.close()

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure(
            "cannot listen on {endpoint}; operators are not served there",
            failure,
            endpoint=self._endpoint,
        )

    def stopService(self) -> Deferred[None]:
        """See `IService.stopService`: stop listening, then close all connections."""
        super().stopService()
        listening, self._listening = self._listening, None
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None
        if listening is None:
            return self._site.close_connections()
        # A port that does not listen yet is stopped as soon as it does.
        return listening.addCallback(self._stop)

    def _stop(self, port: IListeningPort | None) -> Deferred[None]:
        stopped = maybeDeferred(port.stopListening) if port else succeed(None)
        return stopped.addCallback(lambda _: self._site.close_connections())
