# -*- test-case-name: tests.testing.test_fake_guest -*-
"""An endpoint to listen on without a socket."""

from __future__ import annotations

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from zope.interface import implementer


@implementer(IListeningPort)
class _MemoryPort:
    """A port that listens in memory."""

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory
        self.startListening()

    def startListening(self) -> None:
        """See `IListeningPort.startListening`."""
        self._factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """See `IListeningPort.stopListening`."""
        self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IAddress:
        """See `IListeningPort.getHost`."""
        return UNIXAddress("memory")


@implementer(IStreamServerEndpoint)
class MemoryEndpoint:
    """An endpoint without a socket, for the tests of agents.

    Pass it to `DevLXDService` where it listens, and connect with `FakeGuest`.

    :param error: fail to listen with this, as a test of an agent may want; default:
        listening succeeds.
    """

    def __init__(self, error: CannotListenError | None = None) -> None:
        self._error = error

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint.listen`."""
        if self._error is not None:
            return fail(self._error)
        return succeed(_MemoryPort(protocolFactory))
