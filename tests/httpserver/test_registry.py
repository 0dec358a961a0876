"""Tests of `devlxd.httpserver.registry`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.httpserver import registry
from devlxd.httpserver.registry import (
    CGROUP_EXPIRY,
    CONNECTION_COST,
    MAX_COUNTED,
    MAX_RECENT_OF_OWNER,
    PROCESS_EXPIRY,
    REQUESTS_PER_ITERATION,
    ConnectionRegistry,
)
from devlxd.turns import Turns


class RegistryTests(SynchronousTestCase):
    """The registry of connections, by owner."""

    def setUp(self) -> None:
        self.clock = Clock()
        turns = Turns(self.clock)
        self.registry: ConnectionRegistry[int] = ConnectionRegistry(
            turns, self.clock, lambda: REQUESTS_PER_ITERATION + 10
        )

    def test_limit(self) -> None:
        """The number of connections of each owner is limited."""
        for n in range(REQUESTS_PER_ITERATION + 10):
            self.assertTrue(self.registry.may_add("c1", REQUESTS_PER_ITERATION + 9 - n))
            self.assertTrue(self.registry.add("c1", n))
        self.assertFalse(self.registry.may_add("c1"))
        self.assertFalse(self.registry.add("c1", 100))
        self.assertTrue(self.registry.add("c2", 101))
        self.assertTrue(self.registry.add(None, 102))
        self.registry.remove("c1", 100)
        self.assertFalse(self.registry.add("c1", 100))
        self.registry.remove("c1", 0)
        self.assertTrue(self.registry.add("c1", 100))

    def test_connections(self) -> None:
        """The connections of one owner and of all owners are listed."""
        for owner, connection in (("c1", 1), ("c1", 2), (None, 3)):
            self.registry.add(owner, connection)
        self.assertEqual(set(self.registry.of("c1")), {1, 2})
        self.assertEqual(set(self.registry.all()), {1, 2, 3})
        self.assertEqual(self.registry.counts(), {"c1": 2, None: 1})
        self.registry.remove("c1", 1)
        self.registry.remove("c1", 2)
        self.registry.remove("c1", 2)
        self.assertEqual(set(self.registry.of("c1")), set())
        self.assertEqual(set(self.registry.all()), {3})
        self.assertEqual(self.registry.counts(), {None: 1})

    def test_share(self) -> None:
        """Each owner has its own share of new connections in a reactor iteration."""
        first = REQUESTS_PER_ITERATION // CONNECTION_COST
        for _ in range(2):
            admitted = [self.registry.may_connect_now("c1") for _ in range(first + 5)]
            self.assertEqual(admitted, [True] * first + [False] * 5)
            self.assertTrue(self.registry.may_connect_now("c2"))
            self.clock.advance(0)

    def test_counts_are_forgotten(self) -> None:
        """What was counted is not kept forever of owners that are gone."""
        for n in range(2 * MAX_COUNTED):
            self.assertTrue(self.registry.may_connect_now(n))
            self.clock.advance(0)
        self.assertLessEqual(len(self.registry._served), MAX_COUNTED)

    def test_in_order(self) -> None:
        """While a connection of an owner is pending, later ones wait as well."""
        self.registry.take_turn("c1", lambda: None)
        self.assertFalse(self.registry.may_connect_now("c1"))
        self.assertTrue(self.registry.may_connect_now("c2"))
        self.clock.advance(0)
        self.assertTrue(self.registry.may_connect_now("c1"))

    def test_few_connections(self) -> None:
        """The requests of an owner with few connections never have to wait."""
        for n in range(REQUESTS_PER_ITERATION):
            self.registry.add("c1", n)
        for _ in range(REQUESTS_PER_ITERATION + 5):
            self.assertTrue(self.registry.may_serve_now("c1"))
        self.registry.add("c1", REQUESTS_PER_ITERATION)
        allowed = [
            self.registry.may_serve_now("c1") for _ in range(REQUESTS_PER_ITERATION + 5)
        ]
        self.assertEqual(allowed, [True] * REQUESTS_PER_ITERATION + [False] * 5)

    def test_recent(self) -> None:
        """The owner of a process or of a cgroup is remembered for a limited time."""
        for recent, seconds in (
            (self.registry.processes, PROCESS_EXPIRY),
            (self.registry.cgroups, CGROUP_EXPIRY),
        ):
            self.assertEqual(recent.get(7, "unknown"), "unknown")
            recent.put(7, "c1")
            self.assertEqual(recent.get(7, "unknown"), "c1")
            self.clock.advance(seconds)
            self.assertEqual(recent.get(7, "unknown"), "unknown")
            recent.put(None, "c1")
            self.assertEqual(recent.get(None, "unknown"), "unknown")

    def test_recent_many(self) -> None:
        """The number of remembered processes is limited."""
        self.patch(registry, "MAX_RECENT", 3)
        for pid in range(1, 5):
            self.registry.processes.put(pid, f"c{pid}")
        self.assertEqual(self.registry.processes.get(1, "unknown"), "unknown")
        self.assertEqual(self.registry.processes.get(4, "unknown"), "c4")

    def test_recent_of_one(self) -> None:
        """An owner with many processes or cgroups does not evict those of others."""
        self.registry.cgroups.put(0, "c1")
        for cgroup in range(1, MAX_RECENT_OF_OWNER + 2):
            self.registry.cgroups.put(cgroup, "c2")
        self.assertEqual(self.registry.cgroups.get(0, "unknown"), "c1")
        self.assertEqual(self.registry.cgroups.get(1, "unknown"), "unknown")
        self.assertEqual(self.registry.cgroups.get(2, "unknown"), "c2")
        self.registry.cgroups.put(2, "c1")
        self.assertEqual(self.registry.cgroups.get(2, "unknown"), "c1")
