# -*- test-case-name: tests.host.test_listening_service -*-
"""A service that listens on one endpoint while it runs."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure

from devlxd.host.listening import listen_now


class ListeningService(Service):
    """A service that listens on one endpoint; stopping it closes the connections.

    :param endpoint: the endpoint.
    :param factory: makes the protocols of the connections.
    """

    def __init__(
        self, endpoint: IStreamServerEndpoint, factory: IProtocolFactory
    ) -> None:
        self.endpoint = endpoint
        self._factory = factory
        self._listening: Deferred[IListeningPort | None] | None = None

    def listened(self, port: IListeningPort) -> None:
        """Hook: called when the port listens."""
        raise NotImplementedError

    def listening_failed(self, failure: Failure) -> None:
        """Hook: called when listening has failed later; log it."""
        raise NotImplementedError

    def stop_accepting(self) -> None:
        """Hook: called before the port is stopped; also if none listens."""
        raise NotImplementedError

    def close_connections(self) -> Deferred[None]:
        """Hook: close all connections; called when the port is stopped.

        :return: a Deferred that fires when they are closed.
        """
        raise NotImplementedError

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
            listening = listen_now(self.endpoint, self._factory)
            self._listening = listening.addCallbacks(
                self._listened, self.listening_failed
            )

    def _listened(self, port: IListeningPort) -> IListeningPort:
        self.listened(port)
        return port

    def stopService(self) -> Deferred[None]:
        """See `IService.stopService`: stop listening, then close every connection.

        :return: a Deferred that fires when every connection is closed.
        """
        super().stopService()
        listening, self._listening = self._listening, None
        # A port that does not listen yet is stopped as soon as it does.
        return (listening or succeed(None)).addCallback(self._stop)

    def _stop(self, port: IListeningPort | None) -> Deferred[None]:
        self.stop_accepting()
        stopped = maybeDeferred(port.stopListening) if port else succeed(None)
        return stopped.addCallback(lambda _: self.close_connections())
