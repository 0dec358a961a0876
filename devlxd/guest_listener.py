# -*- test-case-name: tests.test_service -*-
"""Listening for guests on one endpoint."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IListeningPort,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from devlxd.guestapi.dialect import Dialect
from devlxd.host.accepting import Acceptor, ListeningSocket
from devlxd.host.listening import address_of, address_text
from devlxd.host.listening_service import ListeningService
from devlxd.host.socket_files import SocketFile
from devlxd.httpserver.connection_limiter import ConnectionLimiter
from devlxd.httpserver.connection_state import ConnectionState, state_of
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import IDevLXDReactor
from devlxd.model import HandedOver, JSONValue, Listener
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

    def hand_over(self) -> list[int]:
        """Stop accepting, and give up the connections that are not admitted yet.

        :return: their file descriptors, which are the caller's now.
        """
        self._acceptor.stop()
        return self._limiter.hand_over()

    def continue_from(self, descriptor: int, state: ConnectionState) -> None:
        """See `ConnectionLimiter.continue_from`."""
        self._limiter.continue_from(descriptor, state)

    def close(self) -> None:
        """Stop accepting, and close the connections that are not admitted yet."""
        self._acceptor.stop()
        self._socket.close()
        self._limiter.close()


class GuestListener(ListeningService):
    """A service that serves one dialect on one endpoint."""

    _log = Logger()

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        site: DevLXDSite,
        dialect: Dialect,
        reactor: IDevLXDReactor,
    ) -> None:
        super().__init__(endpoint, site)
        self.site = site
        self.dialect = dialect
        self._reactor = reactor
        self._unix_acceptor: _UNIXAcceptor | None = None
        #: Where the connections of this service were accepted, in their records.
        self._place: dict[str, JSONValue] = {}
        self._address = address_of(endpoint)
        self._is_bound = False
        #: The file of the socket, as it was bound; ``None`` if there is none.
        self._file: SocketFile | None = None
        #: The port that has bound the file; ``None`` for one that adopted its socket.
        self._port: IReadDescriptor | None = None

    @property
    def listener(self) -> Listener:
        """The endpoint, for operators: no guest can use a socket without its file."""
        is_found = self._file is None or self._file.is_there()
        return Listener(self.dialect.name, self._address, self._is_bound and is_found)

    def listened(self, port: IListeningPort) -> None:
        """See `ListeningService.listened`."""
        listening = getattr(port, "socket", None)
        if isinstance(listening, socket.socket) and listening.family == socket.AF_UNIX:
            self._port = IReadDescriptor(port, None)
            if self._port is not None:
                # The acceptor accepts connections instead of the port.
                self._reactor.removeReader(self._port)
            self._unix_acceptor = _UNIXAcceptor(listening, self.site, self._reactor)
            address = os.fsdecode(listening.getsockname())
            self._file = SocketFile.at(address)
            self._place = {"listener": address, "dialect": self.dialect.name}
        self._address = address_text(port.getHost())
        self._is_bound = True
        self._log.info(
            "{dialect} guests are served at {address}",
            dialect=self.dialect.name,
            address=self._address,
        )

    def listening_failed(self, failure: Failure) -> None:
        """See `ListeningService.listening_failed`."""
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
        acceptor = self._unix_acceptor
        if acceptor is None:
            return succeed([])
        accepted = [(fd, ConnectionState()) for fd in acceptor.hand_over()]
        captured = self.site.hand_over()
        return captured.addCallback(
            lambda captured: [
                HandedOver(descriptor, {**state.as_record(), **self._place})
                for descriptor, state in (*accepted, *captured)
            ]
        )

    def adopt(self, connections: Iterable[HandedOver]) -> list[HandedOver]:
        """Continue those connections that were accepted at the address of this service.

        :return: those of other addresses or dialects, and those with a record that
            cannot be read. They are still the caller's.
        """
        others = []
        for connection in connections:
            state = self._state_in(connection.record)
            if state is None or self._unix_acceptor is None:
                others.append(connection)
            else:
                self._unix_acceptor.continue_from(connection.descriptor, state)
        return others

    def _state_in(self, record: Mapping[str, JSONValue]) -> ConnectionState | None:
        """Return the state of a connection, ``None`` if it is not to be continued."""
        if any(record.get(name) != value for name, value in self._place.items()):
            return None
        try:
            return state_of(record)
        except ValueError:
            return None

    def stop_accepting(self) -> None:
        """See `ListeningService.stop_accepting`."""
        self._is_bound = False
        if self._unix_acceptor is not None:
            self._unix_acceptor.close()
            self._unix_acceptor = None

    def abandon(self) -> None:
        """Stop listening at once, without the reactor, and remove the socket's file.

        A process that fails to start ends without a call of `stopService`, whose work
        is done by the reactor, too. If it goes on, it calls `stopService` as usual.
        """
        self.stop_accepting()
        port, self._port = self._port, None
        if port is not None and self._file is not None and self._file.is_there():
            port.connectionLost(Failure(ConnectionDone()))

    def close_connections(self) -> Deferred[None]:
        """See `ListeningService.close_connections`."""
        return self.site.close_connections()
