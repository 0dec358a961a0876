# -*- test-case-name: tests.host.test_listening -*-
"""A reactor that listens nowhere, to check endpoints before devlxd starts."""

from __future__ import annotations

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IListeningPort,
    IReactorUNIX,
)
from twisted.internet.protocol import ClientFactory, Factory
from zope.interface import implementer


@implementer(IListeningPort)
class DryRunPort:
    """A port that listens nowhere."""

    def startListening(self) -> None:
        """See `IListeningPort.startListening`."""

    def stopListening(self) -> None:
        """See `IListeningPort.stopListening`."""

    def getHost(self) -> IAddress:
        """See `IListeningPort.getHost`."""
        return UNIXAddress(None)


@implementer(IReactorUNIX)
class DryRunReactor:
    """A reactor that records the address it is asked to listen on.

    :ivar address: the path of the UNIX socket, or the network interface; empty
        before an endpoint has listened.
    :ivar port: the TCP port; 0 for a UNIX socket.
    """

    address = ""
    port = 0

    def listenTCP(
        self, port: int, factory: Factory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """See `IReactorTCP.listenTCP`; `TCP4ServerEndpoint` needs nothing else."""
        self.address, self.port = interface, port
        return DryRunPort()

    def listenUNIX(
        self,
        address: str,
        factory: Factory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> IListeningPort:
        """See `IReactorUNIX.listenUNIX`."""
        self.address = address
        return DryRunPort()

    def connectUNIX(
        self,
        address: str,
        factory: ClientFactory,
        timeout: float = 30,
        checkPID: bool = False,
    ) -> IConnector:
        """See `IReactorUNIX.connectUNIX`; not supported."""
        raise NotImplementedError("a dry run makes no connections")
