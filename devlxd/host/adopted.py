# -*- test-case-name: tests.host.test_adopted -*-
"""Listening sockets that another process opened: systemd's socket activation.

Twisted's own port changes the mode of such a socket's path when it starts, and
removes the path when it stops (https://github.com/twisted/twisted/issues/10261).
Here the path is left as it is, for the next process that systemd starts.
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
    """The port of an adopted socket; `devlxd.host.accepting` accepts its connections.

    :param fileno: the file descriptor of a listening UNIX socket; it is duplicated.
    :param factory: is started and stopped with the port.
    :ivar socket: the duplicate, in non-blocking mode.
    """

    def __init__(self, fileno: int, factory: IProtocolFactory) -> None:
        # A duplicate: the endpoint can listen again when this port has stopped.
        self.socket = socket.socket(fileno=os.dup(fileno))
        self.socket.setblocking(False)
        self._factory = factory

    def startListening(self) -> None:
        """See `IListeningPort.startListening`; the socket listens already."""
        self._factory.doStart()

    def stopListening(self) -> None:
        """See `IListeningPort.stopListening`; the path is not removed."""
        self.socket.close()
        self._factory.doStop()

    def getHost(self) -> IAddress:
        """See `IListeningPort.getHost`."""
        return UNIXAddress(self.socket.getsockname())


@implementer(IStreamServerEndpoint)
class AdoptedEndpoint:
    """An endpoint for a UNIX socket that listens already.

    :ivar fileno: the file descriptor of the socket, which stays open.
    """

    def __init__(self, fileno: int) -> None:
        self.fileno = fileno

    @property
    def path(self) -> str:
        """The path of the socket."""
        with socket.socket(fileno=os.dup(self.fileno)) as listening:
            return os.fsdecode(listening.getsockname())

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint.listen`."""
        port = AdoptedPort(self.fileno, protocolFactory)
        port.startListening()
        return succeed(port)
