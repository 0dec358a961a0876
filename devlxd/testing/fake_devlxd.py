# -*- test-case-name: tests.testing.test_fake_devlxd -*-
"""devlxd in memory, for the tests of programs in guests."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from devlxd.client import GuestError, IGuest
from devlxd.containers.memory_store import MemoryStore
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.guest_sites import GuestSites
from devlxd.guest_states.memory import MemoryGuestStates
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.dialects import DIALECTS
from devlxd.guestapi.downloads import Downloads
from devlxd.httpserver.site import DevLXDSite
from devlxd.images.memory_image_store import MemoryImageStore
from devlxd.model import Caller, Container
from devlxd.testing.callers import MemoryIdentifier, MemoryPeerSource
from devlxd.testing.reactor import MemoryDevLXDReactor
from devlxd.testing.simulation.failures import (
    NoAnswer,
    PlannedFailure,
    PlannedFailures,
)
from devlxd.testing.simulation.guest import MemoryGuest
from devlxd.testing.simulation.network import MemoryNetwork
from devlxd.testing.simulation.server_reactor import ServerReactor
from devlxd.testing.simulation.site import MemorySite, ServedConnection

#: The time of a new clock, in seconds since 1970: in September 2001.
BEGINNING = 10**9


class FakeDevLXD:
    """devlxd in memory: the real site and guests, without sockets and real time.

    :param clock: the time of the server and of the guests. A program under test may
        use it, too. Default: a new `MemoryDevLXDReactor`, whose time begins at
        `BEGINNING`.
    :param dialect: the name of the dialect that is served.
    :ivar clock: that clock. Advance it where time has to pass: timeouts, new
        connections after a loss, images that are not found.
    :ivar store: the containers.
    """

    def __init__(self, clock: Clock | None = None, dialect: str = "lxd6") -> None:
        self.clock = MemoryDevLXDReactor() if clock is None else clock
        if clock is None:
            self.clock.advance(BEGINNING)
        self.store = MemoryStore()
        self._network = MemoryNetwork(self.clock)
        self._reactor = ServerReactor(self._network)
        self._identifier = MemoryIdentifier()
        self._states = MemoryGuestStates(self.store, self._identifier, self._reactor)
        self._states.startService()
        self._images = MemoryImageStore()
        self._failures = PlannedFailures()
        self._runs: dict[str, int] = {}
        self._new_runs = count(1)
        self._site = self._make_site(_dialect_named(dialect))
        self._is_running = True

    def guest(self, name: str, timeout: float = 10) -> IGuest:
        """Return a guest: a program in a container that uses `devlxd.client.Guest`.

        The container is created, without config, if there is none.

        :param name: the name of the container.
        :param timeout: see `devlxd.client.Guest`.
        """
        self._create(name)
        endpoint = MemorySite(
            self._site,
            self.store,
            self._network,
            lambda: self._caller(name),
            lambda: self._is_running,
            self._failures,
        )
        return MemoryGuest(self._network, endpoint, self._failures, timeout)

    def set_config(self, name: str, key: str, value: str | None) -> None:
        """Set a config key of a container, which is created if there is none.

        :param value: the value; ``None`` removes the key.
        """
        self._create(name)
        self.store.set_config(name, key, value)
        self._network.pump()

    def set_device(
        self, name: str, device: str, mapping: Mapping[str, str] | None
    ) -> None:
        """Set a device of a container, which is created if there is none.

        :param mapping: the keys and values of the device; ``None`` removes it.
        """
        self._create(name)
        self.store.set_device(name, device, mapping)
        self._network.pump()

    def remove(self, name: str) -> None:
        """Remove a container; do nothing if there is none."""
        self.store.remove(name)
        self._network.pump()

    def add_image(self, *data: bytes, filename: str = "") -> str:
        """Add an image that guests may download.

        They may in a container with the config key of the dialect that permits it,
        for example ``security.devlxd.images``.

        :param data: the only file of a unified image, or the two files of a split one.
        :param filename: see `MemoryImageStore.put`.
        :return: the fingerprint.
        """
        return self._images.put(*data, filename=filename)

    def state_of(self, name: str) -> str:
        """Return the guest state of a container: ``Started`` or ``Ready``."""
        return self._states.state_of(name).value

    def fail_next(self, failure: PlannedFailure, count: int = 1) -> None:
        """Let the next questions fail, those of all guests.

        For `IGuest.events` a question is each connection, also a later one.

        :param failure: an exception, which the question raises; or a status code,
            which the server responds with; or a `NoAnswer`.
        :param count: how many questions. Further calls plan what comes after these.
        :raises TypeError: if ``failure`` is something else.
        """
        if not isinstance(failure, GuestError | NoAnswer | int):
            raise TypeError(f"{failure!r} is not a GuestError, a status or a NoAnswer")
        self._failures.extend([failure] * count)

    def stop(self) -> None:
        """Stop the server: close all connections, and accept none until `start`."""
        self._is_running = False
        self._site.close_connections()
        self._network.pump()
        # What is left does not read.
        for connection in self._connections():
            connection.abort()
        self._network.pump()

    def start(self) -> None:
        """Start the server again. It still has its containers, states and events."""
        self._is_running = True

    def restart(self) -> None:
        """Restart the server: all connections end, and new ones are accepted.

        Guests that listen to events connect again when the time of their pause is
        over, and continue where they were.
        """
        self.stop()
        self.start()

    def reboot(self, name: str) -> None:
        """End the run of a container: its connections and its state are gone."""
        run = self._runs.pop(name, None)
        if run is not None:
            self._identifier.end(run)
        self._network.pump()

    def leftovers(self) -> list[str]:
        """Return what is left of a program under test that should have ended.

        :return: one line for each open connection, each delayed call of ``clock`` that
            is not the server's, and each planned failure that no question has met.
        """
        self._network.pump()
        connections = [
            f"an open connection of {connection.describe()}"
            for connection in self._connections()
        ]
        calls = [
            f"a delayed call: {_description(call)}"
            for call in self.clock.getDelayedCalls()
            if not self._reactor.has_scheduled(call)
        ]
        return connections + calls + ["an unused failure"] * len(self._failures)

    def assert_finished(self) -> None:
        """Raise ``AssertionError`` if there are `leftovers`."""
        leftovers = self.leftovers()
        if leftovers:
            raise AssertionError("the test has left " + "; ".join(leftovers))

    def _make_site(self, dialect: Dialect) -> DevLXDSite:
        bus = None
        if dialect.events:
            bus = EventBus(
                self.store,
                SQLiteJournal(),
                self._reactor,
                lambda: int(self.clock.seconds() * 1e9),
                namespaces=dialect.exported,
            )
            bus.startService()
        site = GuestSites(
            self.store,
            self._identifier,
            MemoryPeerSource(),
            self._reactor,
            bus=bus,
            downloads=Downloads(self._images, self._reactor),
            wall=self.clock.seconds,
            states=self._states,
        ).site(dialect)
        site.doStart()
        return site

    def _connections(self) -> list[ServedConnection]:
        ends = (transport.protocol for transport in self._network.transports)
        return [end for end in ends if isinstance(end, ServedConnection)]

    def _caller(self, name: str) -> Caller:
        if name not in self._runs:
            self._runs[name] = next(self._new_runs)
        return Caller(name, uid=0, run=self._runs[name])

    def _create(self, name: str) -> None:
        if not self.store.has(name):
            self.store.put(Container(name))


def _dialect_named(name: str) -> Dialect:
    if name not in DIALECTS:
        raise ValueError(f"no dialect {name!r}; there are {', '.join(DIALECTS)}")
    return DIALECTS[name]


def _description(call: IDelayedCall) -> str:
    return " ".join(str(call).split())
