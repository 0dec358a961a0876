# -*- test-case-name: tests.host.test_adopted -*-
"""Listening sockets that somebody else has opened, as systemd does.

Twisted's own port makes such a socket's path anybody's to connect to when it
starts, and removes the path when it stops (twisted #10261). Here the socket is
left as it was found: its path is there for the next process.
"""

from __future__ import annotations

import os
import socket

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from zope.interface import implementer


@implementer(IListeningPort)
class AdoptedPort:
    """A listening UNIX socket; what accepts its connections is not here.

    :ivar socket: the socket, which does not block.
    """

    def __init__(self, fileno: int, factory: IProtocolFactory) -> None:
        # The endpoint may listen again when this has stopped.
        self.socket = socket.socket(fileno=os.dup(fileno))
        self.socket.setblocking(False)
        self._factory = factory

    def startListening(self) -> None:
        """See `IListeningPort.startListening`: it has listened before."""
        self._factory.doStart()

    def stopListening(self) -> None:
        """See `IListeningPort.stopListening`: the path stays."""
        self.socket.close()
        self._factory.doStop()

    def getHost(self) -> IAddress:
        """See `IListeningPort.getHost`."""
        return UNIXAddress(self.socket.getsockname())


@implementer(IStreamServerEndpoint)
class AdoptedEndpoint:
    """A UNIX socket that listens already.

    :ivar fileno: its file descriptor, which stays open.
    """

    def __init__(self, fileno: int) -> None:
        self.fileno = fileno

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint.listen`."""
        port = AdoptedPort(self.fileno, protocolFactory)
        port.startListening()
        return succeed(port)
