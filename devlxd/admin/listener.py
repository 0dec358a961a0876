# -*- test-case-name: tests.admin.test_listener -*-
"""Listening for operators on one endpoint."""

from __future__ import annotations

import os
import socket

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from devlxd.admin.site import AdminSite
from devlxd.host.accepting import Acceptor, ListeningSocket
from devlxd.host.adopted import AdoptedPort
from devlxd.host.listening import address_text
from devlxd.host.listening_service import ListeningService
from devlxd.interfaces import IDevLXDReactor


class AdminListener(ListeningService):
    """A service that listens on one endpoint for operators.

    :param endpoint: the endpoint.
    :param site: responds there.
    :param reactor: accepts the connections of a socket that systemd has opened.
    """

    _log = Logger()

    def __init__(
        self, endpoint: IStreamServerEndpoint, site: AdminSite, reactor: IDevLXDReactor
    ) -> None:
        super().__init__(endpoint, site)
        self._site = site
        self._reactor = reactor
        self._acceptor: Acceptor | None = None

    def listened(self, port: IListeningPort) -> None:
        """See `ListeningService.listened`."""
        if isinstance(port, AdoptedPort):
            # Such a port does not accept connections itself.
            listening = ListeningSocket(fileno=os.dup(port.socket.fileno()))
            self._acceptor = Acceptor(listening, self._accepted, self._reactor)
            self._acceptor.start()
        self._log.info(
            "operators are served at {address}", address=address_text(port.getHost())
        )

    def _accepted(self, connection: socket.SocketType) -> None:
        connection.setblocking(False)
        self._reactor.adoptStreamConnection(
            connection.fileno(),
            socket.AF_UNIX,
            self._site,  # type: ignore[arg-type] # Twisted types Site as another factory
        )
        connection.close()

    def listening_failed(self, failure: Failure) -> None:
        """See `ListeningService.listening_failed`."""
        self._log.failure(
            "cannot listen on {endpoint}; operators are not served there",
            failure,
            endpoint=self.endpoint,
        )

    def stop_accepting(self) -> None:
        """See `ListeningService.stop_accepting`."""
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None

    def close_connections(self) -> Deferred[None]:
        """See `ListeningService.close_connections`."""
        return self._site.close_connections()
