"""A host agent that embeds devlxd, for tests of many containers at once.

Its guests are processes of the host. Each binds its socket to an abstract address
that names a container, see `address_of`. Run this file as a program with two
arguments: the directory of the containers, and the path of the socket to listen on.
"""

from __future__ import annotations

import itertools
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from twisted.application.service import MultiService
from twisted.internet import reactor as installed
from twisted.internet.interfaces import ISystemHandle, ITransport
from twisted.python import log
from zope.interface import implementer

from devlxd.containers.directory_store import DirectoryStore
from devlxd.host.inotify import INotify
from devlxd.interfaces import (
    ICallerIdentifier,
    IDevLXDReactor,
    IPeerSource,
    IRunObserver,
)
from devlxd.model import Caller, Peer
from devlxd.service import DevLXDService

_numbers = itertools.count()


def address_of(container: int) -> bytes:
    """Return a new address; its owner is identified as root of a container."""
    return b"\0devlxd-test-%d-%d-%d" % (os.getpid(), next(_numbers), container)


@implementer(IPeerSource, ICallerIdentifier)
class AddressIdentifier:
    """Identifies peers by the container that their address names.

    The pid of such a peer is the number of the container.
    """

    @contextmanager
    def open_peer(self, transport: ITransport) -> Iterator[Peer]:
        """See `IPeerSource.open_peer`."""
        handle = ISystemHandle(transport).getHandle()
        assert isinstance(handle, socket.socket)
        yield Peer(int(handle.getpeername().rpartition(b"-")[2]), 0, 0)

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        return Caller(f"c{peer.pid}", uid=0)

    def watch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.watch`."""

    def unwatch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.unwatch`."""


def main(directory: str, path: str) -> None:
    """Serve the containers of ``directory`` at ``path``."""
    log.startLogging(sys.stdout, setStdout=False)
    reactor = cast(IDevLXDReactor, installed)
    service = MultiService()
    store = DirectoryStore(Path(directory), reactor, INotify(reactor))
    store.setServiceParent(service)
    callers = AddressIdentifier()
    devlxd = DevLXDService(reactor, store, {"lxd": path}, callers, callers)
    devlxd.setServiceParent(service)
    service.privilegedStartService()
    service.startService()
    installed.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
