# -*- test-case-name: tests.test_testing -*-
"""Verified fakes, for the tests of devlxd and of whoever builds on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from attrs import field, frozen
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IDevLXDReactor,
    IPeerSource,
    IRuntime,
    NotInContainer,
)
from devlxd.model import Caller, Peer
from devlxd.web.dialects import LXD, Dialect
from devlxd.web.site import DevLXDSite

#: Root of an unprivileged container, as the host sees it.
GUEST = Peer(pid=4321, uid=100000, gid=100000)


@implementer(IPeerSource)
@frozen
class MemoryPeerSource:
    """Says the same of every connection.

    :ivar peer: what it says; ``None`` to fail.
    """

    peer: Peer | None = GUEST

    @contextmanager
    def hold(self, transport: ITransport) -> Iterator[Peer]:
        """See `IPeerSource.hold`."""
        if self.peer is None:
            raise NotInContainer("nobody is there")
        yield self.peer


@implementer(ICallerIdentifier)
@frozen
class MemoryIdentifier:
    """Knows its callers by their pid.

    :ivar callers: pid to caller; who is not in it is in no container.
    """

    callers: Mapping[int, Caller] = field(factory=dict)

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        try:
            return self.callers[peer.pid]
        except KeyError:
            raise NotInContainer(f"pid {peer.pid} is nobody") from None


@implementer(IRuntime)
@frozen
class MemoryRuntime:
    """Knows cgroups by heart.

    :ivar cgroups: the path of a cgroup to the name of its container.
    """

    cgroups: Mapping[str, str] = field(factory=dict)

    def container_name(self, cgroup: str) -> str | None:
        """See `IRuntime.container_name`."""
        return self.cgroups.get(cgroup)


@implementer(IDevLXDReactor)
class MemoryDevLXDReactor(MemoryReactorClock):
    """A reactor in memory, with all that devlxd needs of one."""


class GuestConnection:
    """The guest's end of a connection, in memory.

    :ivar transport: what the site writes to.
    """

    def __init__(self, site: DevLXDSite) -> None:
        self.transport = StringTransport()
        self._protocol = site.buildProtocol(UNIXAddress(""))
        self._protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """Send ``data``, and return what came back since the last time."""
        self._protocol.dataReceived(data)
        answer: bytes = self.transport.value()
        self.transport.clear()
        return answer

    def hang_up(self) -> None:
        """Close the connection from the guest's end."""
        self._protocol.connectionLost(Failure(ConnectionDone()))

    def get(self, path: str, version: str = "1.1") -> bytes:
        """Ask for ``path``, and return the response as it is on the wire."""
        return self.send(f"GET {path} HTTP/{version}\r\nHost: lxd\r\n\r\n".encode())


def site_for(
    store: IContainerStore,
    name: str,
    dialect: Dialect = LXD,
    clock: Clock | None = None,
) -> DevLXDSite:
    """Build a site on which everybody is the root of the container ``name``."""
    identifier = MemoryIdentifier({GUEST.pid: Caller(name, root=True)})
    return DevLXDSite(dialect, store, identifier, MemoryPeerSource(), clock or Clock())
