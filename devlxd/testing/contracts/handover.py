# -*- test-case-name: tests.host.test_handover_store -*-
"""The contract of `IHandoverStore`."""

from __future__ import annotations

import os
import socket

from zope.interface.verify import verifyObject

from devlxd.interfaces import IHandoverStore
from devlxd.model import HandedOver, JSONValue
from devlxd.testing.contracts.base import ContractBase


class HandoverStoreContract(ContractBase):
    """Tests of a store of connections.

    Override `make_store` and `next_store`.
    """

    def make_store(self) -> IHandoverStore:
        """Hook: return a new, empty store."""
        raise NotImplementedError

    def next_store(self, store: IHandoverStore) -> IHandoverStore:
        """Hook: return the store that the next process has after ``store``."""
        raise NotImplementedError

    def connection(self, record: dict[str, JSONValue]) -> socket.socket:
        """Add a connection to ``connections``; return the end of its peer."""
        peer, ours = socket.socketpair()
        peer.settimeout(5)
        self.addCleanup(peer.close)
        self.connections.append(HandedOver(ours.detach(), record))
        return peer

    def setUp(self) -> None:
        """Prepare the list of connections."""
        super().setUp()
        self.connections: list[HandedOver] = []

    def save(self, store: IHandoverStore) -> bool:
        """Save ``connections``, and close them as their owner does."""
        saved = store.save(self.connections)
        for connection in self.connections:
            os.close(connection.descriptor)
        return saved

    def take(self, store: IHandoverStore) -> list[HandedOver]:
        """Take connections, and close them when the test ends."""
        taken = list(store.take())
        for connection in taken:
            self.addCleanup(os.close, connection.descriptor)
        return taken

    def test_interface(self) -> None:
        """The store provides its interface."""
        verifyObject(IHandoverStore, self.make_store())

    def test_empty(self) -> None:
        """A new store contains no connections; saving none succeeds."""
        store = self.make_store()
        self.assertEqual(list(store.take()), [])
        self.assertTrue(self.save(store))
        self.assertEqual(list(self.next_store(store).take()), [])

    def test_kept(self) -> None:
        """Connections stay open, and arrive in order with their records."""
        records: list[dict[str, JSONValue]] = [
            {"number": number, "text": "\u00e9\n", "list": [1.5, None, True]}
            for number in range(300)
        ]
        peers = [self.connection(record) for record in records]
        peers[7].send(b"before")
        store = self.make_store()
        self.assertTrue(self.save(store))
        peers[7].send(b" and after")
        taken = self.take(self.next_store(store))
        self.assertEqual([each.record for each in taken], records)
        for number, peer in enumerate(peers):
            os.write(taken[number].descriptor, b"%d" % number)
            self.assertEqual(peer.recv(10), b"%d" % number)
        self.assertEqual(os.read(taken[7].descriptor, 100), b"before and after")

    def test_once(self) -> None:
        """The connections are gone when they have been taken."""
        self.connection({})
        store = self.make_store()
        self.save(store)
        after = self.next_store(store)
        self.assertEqual(len(self.take(after)), 1)
        self.assertEqual(list(after.take()), [])
        self.assertEqual(list(self.next_store(after).take()), [])

    def test_again(self) -> None:
        """The next process can save what it has taken."""
        peer = self.connection({"a": 1})
        store = self.make_store()
        self.save(store)
        store = self.next_store(store)
        self.connections = list(store.take())
        self.assertTrue(self.save(store))
        (taken,) = self.take(self.next_store(store))
        os.write(taken.descriptor, b"x")
        self.assertEqual((peer.recv(1), dict(taken.record)), (b"x", {"a": 1}))
