"""The operator's end of a connection, and a guest service, for tests."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from zope.interface import implementer

from devlxd.admin.event_feed import EventFeed
from devlxd.admin.event_reporter import EventReporter
from devlxd.admin.metrics import Metrics, RequestCounter
from devlxd.admin.operation import Guests, Operation
from devlxd.admin.operator_observer import OperatorObserver
from devlxd.admin.records import Records
from devlxd.admin.site import AdminChannel, AdminSite
from devlxd.admin.tree import admin_routes, page_routes
from devlxd.containers.memory_store import MemoryStore
from devlxd.guest_states.memory import MemoryGuestStates
from devlxd.interfaces import (
    IContainerStore,
    IDocuments,
    IGuestService,
    IGuestStates,
    IRemoteStore,
)
from devlxd.model import (
    Caller,
    Container,
    Explanation,
    Fault,
    Listener,
    Result,
    SourceState,
    Step,
)
from devlxd.testing import MemoryIdentifier

#: The time of all tests, in nanoseconds since 1970, and as a text.
NOW = 10**18
NOW_TEXT = "2001-09-09T01:46:40.000000Z"


@frozen
class Answer:
    """A response, as the operator receives it."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        """Parse all data that was received on a connection."""
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("ascii").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        return cls(int(status.split()[1]), headers, body)

    def json(self) -> Any:  # noqa: ANN401 # JSON
        """Return the body, which is JSON."""
        return json.loads(self.body)


class Transport(StringTransportWithDisconnection):
    """A transport that reports that it was closed or aborted.

    :ivar holds: whether closing waits for the peer, which does not read.
    """

    holds = False

    def loseConnection(self) -> None:
        """See `ITransport.loseConnection`."""
        self.disconnecting = True
        if not self.holds:
            super().loseConnection()

    def abortConnection(self) -> None:
        """See `ITCPTransport.abortConnection`."""
        self.disconnected = True
        super().loseConnection()

    def unregisterProducer(self) -> None:
        """See `IConsumer.unregisterProducer`, which may be called again."""
        self.producer = None


class OperatorConnection:
    """The operator's end of a connection, in memory.

    :param site: the site to connect to.
    :param address: the local address of the site.
    """

    def __init__(self, site: AdminSite, address: str = "") -> None:
        host = IPv4Address("TCP", address, 1) if address else UNIXAddress("/sock")
        self.transport = Transport(hostAddress=host)
        channel: AdminChannel | None = site.buildProtocol(None)
        self.is_accepted = channel is not None
        if channel is not None:
            self.transport.protocol = channel
            channel.makeConnection(self.transport)
            self._channel = channel

    def send(self, data: bytes) -> None:
        """Send data."""
        self._channel.dataReceived(data)

    def receive(self) -> bytes:
        """Return the data that the site has sent since the last call."""
        received: bytes = self.transport.value()
        self.transport.clear()
        return received

    def ask(
        self, path: str, method: str = "GET", headers: Iterable[str] = ()
    ) -> Answer:
        """Send a request, and return the response."""
        lines = (f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", "")
        self.send("\r\n".join(lines).encode())
        return Answer.parse(self.receive())


@implementer(IDocuments)
class DocumentedStore(MemoryStore):
    """A store with documents, as far as operators see them.

    :ivar found: the faults.
    :ivar broken: why the documents cannot be read; ``None`` if they can.
    """

    def __init__(self, containers: Iterable[Container] = ()) -> None:
        super().__init__(containers)
        self.found: list[Fault] = []
        self.broken: str | None = None

    def document_of(self, name: str) -> str | None:
        """See `IDocuments.document_of`."""
        return f"/c/{name}.yaml" if self.has(name) else None

    def faults(self) -> Sequence[Fault]:
        """See `IDocuments.faults`."""
        return self.found

    def problem(self) -> str | None:
        """See `IDocuments.problem`."""
        return self.broken


@implementer(IRemoteStore)
class RemoteStore(DocumentedStore):
    """A store with a remote source.

    :ivar state: the state of the source.
    """

    state = SourceState("etcd:/h1/", True, 2.5)

    def source_state(self) -> SourceState:
        """See `IRemoteStore.source_state`."""
        return self.state

    def settled(self) -> Deferred[None]:
        """See `IRemoteStore.settled`."""
        return self.loaded()


@implementer(IGuestService)
@define
class MemoryGuestService:
    """A guest service that says what a test wants."""

    store: IContainerStore
    states: IGuestStates = field()
    bound: list[Listener] = field(factory=lambda: [Listener("lxd", "/l/sock", True)])
    known: list[Caller] = field(factory=list)
    counts: dict[str | None, int] = field(factory=dict)
    endless: dict[str, int] = field(factory=dict)

    @states.default
    def _default_states(self) -> IGuestStates:
        return MemoryGuestStates(self.store, MemoryIdentifier({}), Clock())

    def listeners(self) -> Sequence[Listener]:
        """See `IGuestService.listeners`."""
        return self.bound

    def callers(self) -> Collection[Caller]:
        """See `IGuestService.callers`."""
        return self.known

    def connections(self) -> Mapping[str | None, int]:
        """See `IGuestService.connections`."""
        return self.counts

    def subscribers(self) -> Mapping[str, int]:
        """See `IGuestService.subscribers`."""
        return self.endless

    def journal_bytes(self) -> int:
        """See `IGuestService.journal_bytes`."""
        return 0

    def explain(self, pid: int) -> Explanation:
        """See `IGuestService.explain`: a process is in the container of its pid."""
        name = f"c{pid}"
        if not self.store.has(name):
            failed = Step("container", Result.FAILED, f"{name} is not in the store")
            return Explanation(pid, (failed,), None, "not in a container")
        passed = Step("container", Result.PASSED, name)
        return Explanation(pid, (passed,), name)


class Operated:
    """An operator's socket of some guest services, in memory.

    :param stores: the stores of the services; default: one with ``c1``.
    """

    def __init__(self, *stores: DocumentedStore) -> None:
        self.clock = Clock()
        self.stores = stores or (DocumentedStore([Container("c1")]),)
        self.services = [MemoryGuestService(store) for store in self.stores]
        self.records = [Records(store, lambda: NOW) for store in self.stores]
        pairs = zip(self.services, self.records, strict=True)
        self.operation = Operation(
            "1.2.3",
            [Guests(service, records) for service, records in pairs],
            now=lambda: NOW,
            seconds=self.clock.seconds,
        )
        self.operation.begin()
        self.feed = EventFeed(self.clock, lambda: NOW)
        self.reporter = EventReporter(self.feed)
        self.routes = {
            **admin_routes(self.operation, self.feed, self.clock),
            **page_routes(self.operation, Metrics(self.operation)),
        }
        self.site = AdminSite(self.routes, self.clock)
        self.tcp_site = AdminSite(self.routes, self.clock, is_tcp=True)

    def ask(
        self, path: str, method: str = "GET", headers: Iterable[str] = ()
    ) -> Answer:
        """Send a request to the UNIX socket, and return the response."""
        return OperatorConnection(self.site).ask(path, method, headers)


def count(counter: RequestCounter, dialect: str, code: int, seconds: float) -> None:
    """Count a response, as the observer of a guest service does."""
    feed = EventFeed(Clock(), lambda: NOW)
    records = Records(MemoryStore())
    observer = OperatorObserver(records, EventReporter(feed), counter, feed)
    observer.answered(dialect, code, seconds, None, b"/1.0")
