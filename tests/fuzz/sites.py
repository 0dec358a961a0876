"""A site in memory for fuzzing, and one connection to it."""

from __future__ import annotations

import select
from collections.abc import Sequence
from contextlib import suppress

from devlxd.containers.memory_store import MemoryStore
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.dialects.lxd6 import DIALECT
from devlxd.guestapi.downloads import Downloads
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.model import Caller, Container
from devlxd.testing import (
    GUEST,
    MemoryDevLXDReactor,
    MemoryIdentifier,
    MemoryPeerSource,
)
from tests.httpserver.sockets import SocketClient

#: How many bytes the transport of a connection may buffer.
MAX_BUFFERED = 1 << 20

#: Longer than every timeout of the server together, in seconds.
FOREVER = 1000

#: The container that asks. Its values need slices, and many writes.
CONTAINER = Container(
    "c1",
    {"user.a": "1", "user.big": "x" * 100_000, "security.devlxd.images": "true"},
    {"eth0": {"type": "nic", "nictype": "ipvlan"}},
)


#: The data of an image.
IMAGE = b"0123456789" * 20_000


class FuzzedSite:
    """A site of its own, and a client.

    :ivar client: the client.
    :ivar store: has the container.
    """

    def __init__(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.store = MemoryStore([CONTAINER])
        self._bus = EventBus(
            self.store,
            SQLiteJournal(),
            self.reactor,
            lambda: int(10**18 + self.reactor.seconds() * 10**9),
            namespaces=DIALECT.exported,
        )
        self._bus.startService()
        self._images = MemoryImageStore()
        self._images.put(IMAGE)
        self._images.put(IMAGE, b"root")
        sites = GuestSites(
            self.store,
            MemoryIdentifier({GUEST.pid: Caller("c1", 0, run=1)}),
            MemoryPeerSource(),
            self.reactor,
            bus=self._bus,
            downloads=Downloads(self._images, self.reactor),
            wall=lambda: 10**9,
            location="host",
        )
        self._site = sites.site(DIALECT)
        self._site.doStart()
        self._idle_calls = len(self.reactor.getDelayedCalls())
        self.client = SocketClient(self._site)

    def talk(self, pieces: Sequence[bytes]) -> bytes:
        """Send pieces, one after the other; return everything that is received."""
        received = []
        for piece in pieces:
            received.append(self.send(piece))
            if self.client.transport is None:
                break
        return b"".join(received)

    def send(self, data: bytes) -> bytes:
        """Send data; return what is received, perhaps after the connection is lost."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.client.send_only(data)
        received = self._read()
        # The kernel may pass what was sent in several pieces.
        while self._has_more():
            received += self._read()
        if self.client.transport is not None:
            assert self.client._buffered <= MAX_BUFFERED
        return received

    def _read(self) -> bytes:
        received = []
        with suppress(ConnectionResetError):
            while piece := self.client.read():
                received.append(piece)
        return b"".join(received)

    def _has_more(self) -> bool:
        """Return whether there is data that the site is ready to receive."""
        transport = self.client.transport
        if transport is None or transport not in self.reactor.readers:
            return False
        return bool(select.select([transport.fileno()], [], [], 0)[0])

    def wait(self) -> bytes:
        """Let time pass until all timeouts are over; return what is received."""
        received = []
        for _ in range(FOREVER // 5):
            if self.client.transport is None:
                break
            self.reactor.advance(5)
            received.append(self.send(b""))
        return b"".join(received)

    def leave(self) -> None:
        """Disconnect, and assert that nothing is left of the connection."""
        self.client.disconnect()
        self.reactor.advance(FOREVER)
        assert self.client.transport is None, "the connection is still there"
        calls = self.reactor.getDelayedCalls()
        assert len(calls) <= self._idle_calls, calls
        assert not self.reactor.readers
        assert not self.reactor.writers
        assert not self._images.open_images

    def close(self) -> None:
        """Free everything."""
        self.client.close()
        self._site.doStop()
        self._bus.stopService()
