# -*- test-case-name: tests.httpserver.test_registry -*-
"""The connections of guests, by the container that they are of.

Limits and fairness are between containers: whatever one does with its
connections, another one is served as if it were alone with the first.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from devlxd.interfaces import ITurn, ITurns

#: How many connections the guests of one container may have open at a time.
MAX_CONNECTIONS = 1024

#: How many requests of one owner are served in one iteration of the reactor
#: without taking turns.
AT_ONCE = 16

#: As how many requests a new connection counts, by the time that it takes.
COST = 4

#: For how long the owner of a process is remembered, in seconds: by then its
#: pid may be another's, who would be refused, or wait, for it.
PROCESS_REMEMBERED = 1.0

#: For how long the owner of a cgroup is, in seconds: its id is never another's.
CGROUP_REMEMBERED = 60.0

#: How many of each are remembered at a time, and of one owner.
MAX_REMEMBERED = 65536
MAX_REMEMBERED_OF_OWNER = 64


class Strangers(enum.Enum):
    """The owner of all that has not been placed yet, taken together."""

    STRANGERS = "strangers"

    def __str__(self) -> str:
        """Return it as the log shows it."""
        return self.value


STRANGERS = Strangers.STRANGERS


class Recent:
    """Owners that were found out a moment ago, by something that they have.

    This is for limits and turns only: nobody is let in for it. However much an
    owner has, what is known of the others is not forgotten for it.

    :param reactor: tells the time.
    :param seconds: for how long they are remembered.
    """

    def __init__(self, reactor: IReactorTime, seconds: float) -> None:
        self._reactor = reactor
        self._seconds = seconds
        # Both with the oldest first.
        self._owners: dict[Hashable, tuple[Hashable, float]] = {}
        self._keys: dict[Hashable, dict[Hashable, None]] = {}

    def put(self, key: Hashable, owner: Hashable) -> None:
        """Remember an owner, from now on; nothing is known by ``None``."""
        if key is None:
            return
        self._forget(key)
        keys = self._keys.setdefault(owner, {})
        if len(keys) >= MAX_REMEMBERED_OF_OWNER:
            self._forget(next(iter(keys)))
        elif len(self._owners) >= MAX_REMEMBERED:
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
        """Return the owner, if it was found out lately."""
        owner, until = self._owners.get(key, (default, 0.0))
        return owner if until > self._reactor.seconds() else default


Connection = TypeVar("Connection", bound=Hashable)


class ConnectionRegistry(Generic[Connection]):
    """All connections of a service, whatever it is that they speak.

    :param turns: gives turns to owners that have much to ask.
    :param reactor: tells the time.
    :param max_connections: how many connections one owner may have.
    :ivar processes: owners by the pids of their processes.
    :ivar cgroups: owners by their cgroups.
    """

    def __init__(
        self, turns: ITurns, reactor: IReactorTime, max_connections: int
    ) -> None:
        self._turns = turns
        self._reactor = reactor
        self._max_connections = max_connections
        self._connections: dict[Hashable, set[Connection]] = {}
        self._served: Counter[Hashable] = Counter()
        self._next_iteration: IDelayedCall | None = None
        self.processes = Recent(reactor, PROCESS_REMEMBERED)
        self.cgroups = Recent(reactor, CGROUP_REMEMBERED)

    # How many there are

    def add(self, owner: Hashable, connection: Connection) -> bool:
        """Count a connection in, unless its owner has too many.

        :param owner: the name of a container; ``None`` for whoever is in none.
        """
        connections = self._connections.setdefault(owner, set())
        if len(connections) >= self._max_connections:
            return False
        connections.add(connection)
        return True

    def remove(self, owner: Hashable, connection: Connection) -> None:
        """Count a connection out; harmless when it was not counted in."""
        connections = self._connections.get(owner, set())
        connections.discard(connection)
        if not connections:
            self._connections.pop(owner, None)

    def of(self, owner: Hashable) -> Collection[Connection]:
        """Return the connections of an owner."""
        return list(self._connections.get(owner, ()))

    def all(self) -> Iterable[Connection]:
        """Return all connections."""
        return [one for some in self._connections.values() for one in some]

    def has_room(self, owner: Hashable, more: int = 0) -> bool:
        """Return whether an owner may have one connection besides ``more``."""
        connections = self._connections.get(owner, ())
        return len(connections) + more < self._max_connections

    # Whose turn it is

    def may_ask_now(self, owner: Hashable) -> bool:
        """Return whether a request is served at once, or has to wait for its turn."""
        # With few connections it cannot be too much: each has one request, and
        # what is sent ahead takes turns.
        is_few = len(self._connections.get(owner, ())) <= AT_ONCE
        return is_few or self._may_have_now(owner, 1)

    def may_come_now(self, owner: Hashable) -> bool:
        """Return whether a new connection is let in at once; see `may_ask_now`."""
        return self._may_have_now(owner, COST)

    def _may_have_now(self, owner: Hashable, cost: int) -> bool:
        if self._turns.waiting(owner):
            return False
        if self._next_iteration is None:
            self._next_iteration = self._reactor.callLater(0, self._iterate)
        self._served[owner] += cost
        return self._served[owner] <= AT_ONCE

    def _iterate(self) -> None:
        self._next_iteration = None
        self._served.clear()

    def take_turn(self, owner: Hashable, work: Callable[[], None]) -> ITurn:
        """Do ``work`` when it is the owner's turn; see `ITurns.take`."""
        return self._turns.take(owner, work)
