"""A client with a real socket; the reactor is in memory."""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from devlxd.httpserver.site import DevLXDSite
from devlxd.httpserver.twisted_private_apis import TransportBase
from devlxd.testing import MemoryDevLXDReactor


class SocketClient:
    """A client that is connected by a socket pair.

    The transport is that of production: so are its buffers, and its references after
    the connection is closed.

    :param kind: the class of the site's transport.
    :ivar transport: the site's transport; ``None`` once it is closed.
    """

    def __init__(
        self, site: DevLXDSite, kind: type[TransportBase] = TransportBase
    ) -> None:
        assert isinstance(site.reactor, MemoryDevLXDReactor)
        self._reactor = site.reactor
        ours, self._socket = socket.socketpair()
        ours.setblocking(False)
        self._socket.setblocking(False)
        protocol = site.buildProtocol(None)
        self.transport: TransportBase | None = kind(ours, protocol, self._reactor)
        protocol.makeConnection(self.transport)

    def send(self, data: bytes = b"") -> bytes:
        """Send ``data``, and return everything that the site sends."""
        self.send_only(data)
        return b"".join(iter(self.read, b""))

    def send_only(self, data: bytes) -> None:
        """Send ``data`` without reading."""
        if data:
            self._socket.sendall(data)
        self.serve()

    def read(self) -> bytes:
        """Run the site until it has written, and read up to 64 KiB."""
        self.serve()
        try:
            return self._socket.recv(64 * 1024)
        except BlockingIOError:
            return b""

    def serve(self) -> None:
        """Run the reactor until nothing changes."""
        before = None
        while self.transport is not None and before != self._state():
            before = self._state()
            if self.transport in self._reactor.readers:
                self._do(self.transport.doRead, is_read=True)
            if self.transport is not None and self.transport in self._reactor.writers:
                self._do(self.transport.doWrite, is_read=False)
            self._reactor.advance(0)
            if self.transport is not None and self.transport.disconnected:
                self.transport = None

    def _state(self) -> object:
        transport = self.transport
        assert transport is not None
        return (
            transport in self._reactor.readers,
            transport in self._reactor.writers,
            self._buffered,
            transport.offset,
        )

    def _do(self, method: Callable[[], object], is_read: bool) -> None:
        """Call a transport's method as a reactor does for a ready socket."""
        assert self.transport is not None
        why = method()
        if not isinstance(why, Exception):
            return
        if is_read and isinstance(why, ConnectionDone):
            self.transport.readConnectionLost(Failure(why))
        else:
            self.transport.connectionLost(Failure(why))

    @property
    def _buffered(self) -> int:
        """The number of bytes in the transport's buffers."""
        assert self.transport is not None
        return len(self.transport.dataBuffer) + self.transport._tempDataLen

    def disconnect(self) -> None:
        """Close the connection from the client's end."""
        self._socket.close()
        self.serve()

    def close(self) -> None:
        """Close the client's socket without running the reactor."""
        self._socket.close()
