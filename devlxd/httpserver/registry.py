# -*- test-case-name: tests.httpserver.test_registry -*-
"""The open connections, by owner: limits on their number, and turns.

Limits and turns are counted by owner, so that an owner with many connections or
requests does not delay others.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from itertools import chain
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from devlxd.interfaces import ITurn, ITurns

#: How many requests of one owner are served without taking turns in one iteration of
#: the reactor.
REQUESTS_PER_ITERATION = 16

#: How many requests a new connection counts as: it takes about as much time as these.
CONNECTION_COST = 4

#: The same for a request that is answered without parsing it: it takes less than this.
QUICK_COST = 0.25

#: Of how many owners requests and connections are counted before the counts are dropped
#: in the next iteration of the reactor.
MAX_COUNTED = 256

#: For how long the owner of a process is remembered, in seconds. Longer would be
#: unfair: a later process with the same pid may have another owner.
PROCESS_EXPIRY = 1.0

#: For how long the owner of a cgroup is remembered, in seconds. Ids of cgroups
#: are not reused.
CGROUP_EXPIRY = 60.0

#: How many processes are remembered, and how many cgroups: of all owners together, and
#: of one owner.
MAX_RECENT = 65536
MAX_RECENT_OF_OWNER = 64


class Unidentified(enum.Enum):
    """The common owner of all new connections whose owner cannot be guessed."""

    UNIDENTIFIED = "unidentified callers"

    def __str__(self) -> str:
        """Return the text for the log."""
        return self.value


UNIDENTIFIED = Unidentified.UNIDENTIFIED


class RecentOwners:
    """The owners of recently identified processes, or cgroups.

    They are used for limits and turns only, never to identify a caller. A key
    identifies a process or a cgroup. The number of keys of each owner is limited, so
    that an owner with many keys does not evict those of others.

    :param reactor: provides the time.
    :param seconds: for how long an owner is remembered.
    """

    def __init__(self, reactor: IReactorTime, seconds: float) -> None:
        self._reactor = reactor
        self._seconds = seconds
        # Both in the order of insertion.
        self._owners: dict[Hashable, tuple[Hashable, float]] = {}
        self._keys: dict[Hashable, dict[Hashable, None]] = {}

    def put(self, key: Hashable, owner: Hashable) -> None:
        """Remember the owner of ``key``; do nothing if ``key`` is ``None``."""
        if key is None:
            return
        self._forget(key)
        keys = self._keys.setdefault(owner, {})
        if len(keys) >= MAX_RECENT_OF_OWNER:
            self._forget(next(iter(keys)))
        elif len(self._owners) >= MAX_RECENT:
            self._forget(next(iter(self._owners)))
        self._owners[key] = owner, self._reactor.seconds() + self._seconds
        self._keys.setdefault(owner, {})[key] = None

    def _forget(self, key: Hashable) -> None:
        owner, _ = self._owners.pop(key, (None, 0.0))
        keys = self._keys.get(owner, {})
        keys.pop(key, None)
        if not keys:
            self._keys.pop(owner, None)

    def get(self, key: Hashable, default: Hashable) -> Hashable:
        """Return the owner of ``key``, or ``default`` if none is remembered."""
        owner, until = self._owners.get(key, (default, 0.0))
        return owner if until > self._reactor.seconds() else default


Connection = TypeVar("Connection", bound=Hashable)


class ConnectionRegistry(Generic[Connection]):
    """The open connections of all sites of a service.

    :param turns: schedules the requests and new connections of owners that have many.
    :param reactor: provides the time.
    :param max_connections: returns how many connections one owner may have.
    :ivar processes: the recent owners by the pids of their processes.
    :ivar cgroups: the recent owners by their cgroups, see
        `devlxd.socket_options.AcceptedPeer.cgroup`.
    """

    def __init__(
        self, turns: ITurns, reactor: IReactorTime, max_connections: Callable[[], int]
    ) -> None:
        self._turns = turns
        self._reactor = reactor
        self._max_connections = max_connections
        self._connections: dict[Hashable, set[Connection]] = {}
        self._served: defaultdict[Hashable, float] = defaultdict(float)
        self._next_iteration: IDelayedCall | None = None
        self.processes = RecentOwners(reactor, PROCESS_EXPIRY)
        self.cgroups = RecentOwners(reactor, CGROUP_EXPIRY)

    # Limits

    def add(self, owner: Hashable, connection: Connection) -> bool:
        """Add a connection, unless its owner has too many.

        :param owner: as `IAdmission.owner` returned it.
        :return: whether the connection was added.
        """
        connections = self._connections.setdefault(owner, set())
        if len(connections) >= self._max_connections():
            return False
        connections.add(connection)
        return True

    def keep(self, owner: Hashable, connection: Connection) -> None:
        """Add a connection, however many its owner has."""
        self._connections.setdefault(owner, set()).add(connection)

    def remove(self, owner: Hashable, connection: Connection) -> None:
        """Remove a connection; do nothing if it was not added."""
        connections = self._connections.get(owner, set())
        connections.discard(connection)
        if not connections:
            self._connections.pop(owner, None)

    def of(self, owner: Hashable) -> Collection[Connection]:
        """Return the connections of an owner."""
        return list(self._connections.get(owner, ()))

    def all(self) -> Iterable[Connection]:
        """Return all connections."""
        return list(chain.from_iterable(self._connections.values()))

    def counts(self) -> Mapping[Hashable, int]:
        """Return the number of connections of each owner that has any."""
        every = self._connections.items()
        return {owner: len(connections) for owner, connections in every if connections}

    def may_add(self, owner: Hashable, more: int = 0) -> bool:
        """Return whether an owner may have one more connection.

        :param more: how many new connections of the owner are pending already.
        """
        connections = self._connections.get(owner, ())
        return len(connections) + more < self._max_connections()

    # Turns

    def may_serve_now(self, owner: Hashable, cost: float = 1) -> bool:
        """Count a request; return whether it may be served without a turn.

        :param cost: how many requests it counts as.
        """
        # With few connections the work is limited: each has one request at a time, and
        # pipelined requests always take turns.
        has_few = len(self._connections.get(owner, ())) <= REQUESTS_PER_ITERATION
        return has_few or self._is_within_share(owner, cost)

    def may_connect_now(self, owner: Hashable) -> bool:
        """Count a connection; return whether it may be admitted without a turn."""
        return self._is_within_share(owner, CONNECTION_COST)

    def _is_within_share(self, owner: Hashable, cost: float) -> bool:
        if self._turns.waiting(owner):
            return False
        served = self._served[owner] = self._served[owner] + cost
        is_due = served > REQUESTS_PER_ITERATION / 2 or len(self._served) >= MAX_COUNTED
        if is_due and self._next_iteration is None:
            # A call of the reactor takes about as much time as a quick request: what
            # an owner does not use of half its share may count in later iterations.
            self._next_iteration = self._reactor.callLater(0, self._iterate)
        return served <= REQUESTS_PER_ITERATION

    def _iterate(self) -> None:
        self._next_iteration = None
        self._served.clear()

    def stop(self) -> None:
        """Forget what was counted in this iteration of the reactor."""
        if self._next_iteration is not None:
            self._next_iteration.cancel()
            self._iterate()

    def take_turn(self, owner: Hashable, work: Callable[[], None]) -> ITurn:
        """Call ``work`` in a turn of the owner; see `ITurns.take`."""
        return self._turns.take(owner, work)
