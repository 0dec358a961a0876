"""Two servers of the same containers, with and without the fast path of questions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from unittest.mock import patch

from attrs import evolve
from twisted.internet.interfaces import IHalfCloseableProtocol, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd import fast_paths
from devlxd.containers.memory_store import MemoryStore
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.fast_paths import FastPath
from devlxd.guest_sites import GuestSites
from devlxd.guestapi.api import GuestAPI
from devlxd.guestapi.dialect import Dialect
from devlxd.interfaces import IPeerSource
from devlxd.limits import CurrentLimits
from devlxd.model import Caller, Container, Peer
from devlxd.testing import (
    MemoryDevLXDReactor,
    MemoryIdentifier,
    RecordingServiceObserver,
)
from devlxd.testing.simulation.transport import MemoryTransport, connected_pair

#: The time of day at the start, in seconds since 1970.
START = 10**9

#: The callers by the pids of their processes. Any other process is in no container.
CALLERS = {
    1: Caller("c1", 0, run=1),
    2: Caller("c1", 1000, run=1),
    3: Caller("c2", 0, run=2),
}

#: The pids that connect: a guest's root twice.
PIDS = (1, 1, 2, 3, 4)

#: The state of a channel that both servers must agree on.
STATE = (
    "paused",
    "is_busy",
    "is_transport_full",
    "unparsed",
    "incomplete",
    "between_requests",
    "at_request_line",
    "after_empty_line",
    "is_continued",
    "is_endless",
    "persistent",
    "timeOut",
)


class _Client(Protocol):
    """A client that keeps what it receives."""

    def __init__(self) -> None:
        self.received = b""
        self.is_lost = False

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self.is_lost = True


@implementer(IPeerSource)
class _Peers:
    """A source of the peer that is about to connect."""

    pid = 1

    @contextmanager
    def open_peer(self, transport: ITransport) -> Iterator[Peer]:
        """See `IPeerSource.open_peer`."""
        yield Peer(self.pid, 0, 0)


class Server:
    """A server, and clients that are connected to it.

    :param dialect: the dialect that it speaks.
    :param containers: the containers.
    :param is_quick: whether it has the fast path.
    :ivar kept: how many responses were sent without parsing the request.
    """

    def __init__(
        self, dialect: Dialect, containers: list[Container], is_quick: bool
    ) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.store = MemoryStore(containers)
        self.observer = RecordingServiceObserver()
        self.kept = 0
        self._bus = EventBus(
            self.store,
            SQLiteJournal(),
            self.reactor,
            self._now,
            namespaces=dialect.exported,
        )
        self._bus.startService()
        self._identifier = MemoryIdentifier(CALLERS)
        self._peers = _Peers()
        self._limits = CurrentLimits()
        sites = GuestSites(
            self.store,
            self._identifier,
            self._peers,
            self.reactor,
            bus=self._bus if dialect.events else None,
            observer=self.observer,
            wall=lambda: START + self.reactor.seconds(),
            limits=self._limits,
            location="host",
        )
        paths = {FastPath.QUESTIONS} if is_quick else set()
        with patch.object(fast_paths, "enabled", paths):
            self._site = sites.site(dialect)
        self._count_kept()
        self._site.doStart()
        self._registry = sites.registry
        self._clients: list[_Client] = []
        self._ends: list[tuple[MemoryTransport, MemoryTransport]] = []
        # The connections in use, by their numbers; None for one that is half closed.
        self._numbers: dict[int, MemoryTransport | None] = {}

    def _now(self) -> int:
        return int((START + self.reactor.seconds()) * 10**9)

    def _count_kept(self) -> None:
        handler = cast(GuestAPI, self._site.server.handler)
        kept_before = handler.kept

        def kept(path: bytes, caller: object | None) -> object | None:
            found = kept_before(path, caller)
            self.kept += found is not None
            return found

        vars(handler)["kept"] = kept

    def _connection(self, number: int) -> MemoryTransport | None:
        """Return the client's end of a connection; connect again if it is closed."""
        if number in self._numbers:
            end = self._numbers[number]
            if end is None or end.is_open:
                return end
        self._numbers[number] = self._connect(PIDS[number])
        return self._numbers[number]

    def _connect(self, pid: int) -> MemoryTransport:
        client, channel = _Client(), self._site.buildProtocol(None)
        near, far = connected_pair(client, channel, CALLERS[1], lambda: None)
        self._clients.append(client)
        self._ends.append((near, far))
        self._peers.pid = pid
        channel.makeConnection(far)
        client.makeConnection(near)
        return near

    def _settle(self) -> None:
        """Deliver data, and run what is due, until nothing happens."""
        while True:
            ends = [one for pair in self._ends for one in pair if one.is_open]
            for _, far in self._ends:
                if far.disconnecting:
                    # As Twisted's transports do.
                    far.pauseProducing()
            has_delivered = sum(one.deliver() for one in ends)
            now = self.reactor.seconds()
            is_due = any(c.getTime() <= now for c in self.reactor.getDelayedCalls())
            self.reactor.advance(0)
            if not has_delivered and not is_due:
                return

    # Each of these is a step of an example.

    def send(self, number: int, parts: list[bytes]) -> None:
        """Send data in several parts: each is received before the next is sent."""
        for part in parts:
            self.write(number, part)
            self._settle()

    def write(self, number: int, data: bytes) -> None:
        """Send data that is not received before the next step."""
        end = self._connection(number)
        if end is not None:
            end.write(data)

    def put(self, name: str, key: str, value: str | None) -> None:
        """Change a key of a container; create the container if it is not there."""
        if self.store.get(name) is None:
            self.store.put(Container(name))
        self.store.set_config(name, key, value)
        self._settle()

    def remove(self, name: str) -> None:
        """Remove a container."""
        if self.store.get(name) is not None:
            self.store.remove(name)
        self._settle()

    def end(self, run: int) -> None:
        """End a run of a container."""
        self._identifier.end(run)
        self._settle()

    def limit(self, name: str, value: int) -> None:
        """Change a limit."""
        self._limits.value = evolve(self._limits.value, **{name: value})

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.reactor.advance(seconds)
        self._settle()

    def stop_reading(self, number: int) -> None:
        """Let a client read nothing for now."""
        end = self._connection(number)
        if end is not None:
            end.pauseProducing()

    def read(self, number: int) -> None:
        """Let a client read again."""
        end = self._connection(number)
        if end is not None:
            end.resumeProducing()
        self._settle()

    def half_close(self, number: int) -> None:
        """Close a client's end for writing."""
        self._settle()
        end = self._connection(number)
        if end is not None and end.peer.is_open:
            IHalfCloseableProtocol(end.peer.protocol).readConnectionLost()
            self._numbers[number] = None
        self._settle()

    def disconnect(self, number: int) -> None:
        """Close a client's connection; a later step connects again."""
        end = self._numbers.pop(number, None)
        if end is not None:
            end.loseConnection()
        self._settle()

    def state(self) -> object:
        """Return everything that both servers must agree on."""
        connections = [
            (
                client.received,
                client.is_lost,
                far.is_open,
                far.disconnecting,
                far._is_paused,
                len(far._unsent),
                [(name, getattr(far.protocol, name)) for name in STATE],
            )
            for client, (_, far) in zip(self._clients, self._ends, strict=True)
        ]
        calls = sorted(round(c.getTime(), 6) for c in self.reactor.getDelayedCalls())
        counts = sorted(map(str, self._registry.counts().items()))
        return connections, calls, counts, self.observer.notifications

    def close(self) -> None:
        """Free everything."""
        for near, _ in self._ends:
            near.loseConnection()
        self._settle()
        self._site.doStop()
        self._bus.stopService()
