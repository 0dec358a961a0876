# -*- test-case-name: tests.testing.test_fake_guest -*-
"""A site that guests connect to in memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES
from zope.interface import implementer

from devlxd.guestapi.api import GuestAPI
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import IContainerStore
from devlxd.model import Caller
from devlxd.testing.simulation.admission import MemoryAdmission
from devlxd.testing.simulation.failures import NoAnswer, PlannedFailures
from devlxd.testing.simulation.network import MemoryNetwork
from devlxd.testing.simulation.transport import MemoryTransport

#: The beginning of a request: neither a frame of a websocket nor a body begins so.
_REQUEST = re.compile(rb"[A-Z]+ /[^ ]*(?= HTTP/)")


class ServedConnection(Protocol):
    """The server's end of a connection: a channel of the site.

    :param failures: what happens in place of the next answers.
    """

    def __init__(self, site: DevLXDSite, failures: PlannedFailures) -> None:
        self._channel = site.buildProtocol(None)
        self._failures = failures
        self._request = "no request"
        self._is_silent = False

    def describe(self) -> str:
        """Return the name of the container, and the last request."""
        transport = cast(MemoryTransport, self.transport)
        return f"the guest of {transport.caller.container}: {self._request}"

    def abort(self) -> None:
        """Close the connection now."""
        cast(MemoryTransport, self.transport).abortConnection()

    def connectionMade(self) -> None:
        """See `IProtocol.connectionMade`."""
        assert self.transport is not None
        self._channel.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`: fail, or pass on."""
        request = _REQUEST.match(data)
        if request is not None:
            self._request = request.group().decode("ascii", "replace")
            failure = self._failures.take_next()
            if failure is not None:
                self._is_silent = True
                self._fail(failure)
        if not self._is_silent:
            self._channel.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self._channel.connectionLost(reason)

    def _fail(self, failure: int | NoAnswer) -> None:
        transport = cast(MemoryTransport, self.transport)
        if failure is NoAnswer.SILENT:
            return
        # The channel is the producer of its transport.
        transport.unregisterProducer()
        if isinstance(failure, int):
            transport.write(_response(failure))
        transport.loseConnection()


def _response(status: int) -> bytes:
    """Return a response without a meaning."""
    phrase = RESPONSES.get(status, b"Unknown Status")
    head = (
        f"HTTP/1.1 {status} {phrase.decode('ascii')}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(phrase)}\r\n"
        f"Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + phrase


@implementer(IStreamClientEndpoint)
class MemorySite:
    """A site, as the guests of one container connect to it in memory.

    :param site: the site. It also serves connections in memory from now on.
    :param store: the containers.
    :param caller: returns who connects.
    :param is_listening: returns whether connections are accepted.
    :param failures: what happens in place of the next answers.
    """

    def __init__(
        self,
        site: DevLXDSite,
        store: IContainerStore,
        network: MemoryNetwork,
        caller: Callable[[], Caller],
        is_listening: Callable[[], bool],
        failures: PlannedFailures,
    ) -> None:
        self._site = site
        self._network = network
        self._caller = caller
        self._is_listening = is_listening
        self._failures = failures
        server, handler = site.server, cast(GuestAPI, site.server.handler)
        if not isinstance(server.admission, MemoryAdmission):
            server.admission = MemoryAdmission(
                server.admission, store, handler.services.observer
            )

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        if not self._is_listening():
            return fail(ConnectionRefusedError())
        client = protocolFactory.buildProtocol(UNIXAddress(None))
        assert client is not None
        server = ServedConnection(self._site, self._failures)
        self._network.connect(client, server, self._caller())
        return succeed(client)

    def __str__(self) -> str:
        """Return the name of this endpoint, for messages and `IGuest.info`."""
        return "memory"
