"""Tests of `devlxd.host.container_sockets`."""

from __future__ import annotations

import errno
import os
import socket

from twisted.internet.defer import fail
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.host.container_sockets import RETRY, ContainerSockets
from devlxd.host.kept_directories import KEPT
from devlxd.interfaces import IStoreObserver
from devlxd.model import Container
from devlxd.testing import MemoryDevLXDReactor
from devlxd.testing.contracts import StoreObserverContract
from devlxd.turns import Turns
from tests.counting_store import CountingStore
from tests.host.test_socket_directories import SocketDirectoriesTestCase

C1, C2, C3 = (Container(name) for name in ("c1", "c2", "c3"))


class ContainerSocketsTestCase(SocketDirectoriesTestCase):
    """A test with the sockets of the containers of a store."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryDevLXDReactor()
        self.turns = Turns(self.reactor)
        self.store: MemoryStore = CountingStore([C1, C2])
        self.accepted: list[str] = []
        self.sockets = self.make_sockets()

    def make_sockets(self, most: int = 100) -> ContainerSockets:
        """Return the sockets of the containers of the store."""
        return ContainerSockets(
            self.directories,
            self.store,
            self.turns,
            self.reactor,
            self.on_connection,
            most,
        )

    def on_connection(self, connection: socket.SocketType, name: str) -> bool:
        """Record a connection, and close it."""
        self.accepted.append(name)
        connection.close()
        return False

    def start(self) -> None:
        """Start, and make what is to be made."""
        self.sockets.start()
        self.addCleanup(self.sockets.stop)
        self.reactor.advance(0)

    def lines(self) -> list[str]:
        """Do what is to be done now; return the lines that are logged."""
        with capturedLogs() as events:
            self.reactor.advance(0)
        return [formatEvent(event) or "" for event in events]

    def assert_sockets(self, *names: str) -> None:
        """Check which containers have a socket that accepts connections."""
        self.accepted.clear()
        found = []
        for name in self.directories.names():
            with socket.socket(socket.AF_UNIX) as client:
                if not client.connect_ex(self.directories.socket_path(name)):
                    found.append(name)
                for reader in list(self.reactor.getReaders()):
                    reader.doRead()
        self.assertEqual(sorted(found), [*names])
        self.assertEqual(sorted(self.accepted), [*names])
        self.assertEqual(len(self.sockets), len(names))


class MakingTests(ContainerSocketsTestCase):
    """The sockets, as containers come and go."""

    def test_all(self) -> None:
        """Each container has a socket; one line tells their number."""
        self.sockets.start()
        self.addCleanup(self.sockets.stop)
        self.assertEqual(self.sockets.problem("c1"), "it is not made yet")
        (line,) = self.lines()
        self.assertEqual(
            line, f"2 containers have a socket of their own in {self.path}"
        )
        self.assert_sockets("c1", "c2")
        self.assertIsNone(self.sockets.problem("c1"))

    def test_made(self) -> None:
        """A Deferred tells when all that exist have one; another one is forgotten."""
        self.store = MemoryStore([C1], loaded=False)
        self.sockets = self.make_sockets()
        made, cancelled = self.sockets.made(), self.sockets.made()
        cancelled.cancel()
        self.failureResultOf(cancelled)
        self.start()
        self.assertNoResult(made)
        self.store.mark_loaded()
        self.reactor.advance(0)
        self.successResultOf(made)
        self.successResultOf(self.sockets.made())

    def test_added(self) -> None:
        """A container that is added has a socket at once; a change makes no other."""
        self.start()
        self.store.put(C3)
        self.assertEqual(self.lines(), [])
        inode = self.directories.inode("c3")
        self.store.put(Container("c3", {"user.a": "b"}))
        self.assertEqual(self.lines(), [])
        self.assertEqual(self.directories.inode("c3"), inode)
        self.assert_sockets("c1", "c2", "c3")

    def test_removed(self) -> None:
        """The socket of a removed container is removed, its directory later."""
        self.start()
        self.store.remove("c1")
        self.reactor.advance(0)
        self.assert_sockets("c2")
        self.assertEqual(os.listdir(f"{self.path}/c1"), [])
        self.reactor.advance(KEPT)
        self.assertEqual(self.directories.names(), ["c2"])

    def test_added_again(self) -> None:
        """A container that is added again has the directory that it has mounted."""
        self.start()
        before = os.stat(f"{self.path}/c1").st_ino
        self.store.remove("c1")
        self.reactor.advance(KEPT - 1)
        self.store.put(C1)
        self.reactor.advance(0)
        self.assert_sockets("c1", "c2")
        self.reactor.advance(KEPT)
        self.assertEqual(os.stat(f"{self.path}/c1").st_ino, before)
        self.assert_sockets("c1", "c2")

    def test_added_again_broken(self) -> None:
        """So has one whose document cannot be read for longer than this."""
        broken: set[str] = set()
        self.patch(self.store, "has", broken.__contains__)
        self.sockets = self.make_sockets()
        self.start()
        before = os.stat(f"{self.path}/c1").st_ino
        self.store.remove("c1")
        self.reactor.advance(0)
        broken.add("c1")
        self.reactor.advance(KEPT)
        self.store.put(C1)
        self.reactor.advance(0)
        self.assertEqual(os.stat(f"{self.path}/c1").st_ino, before)
        self.assert_sockets("c1", "c2")

    def test_replaced(self) -> None:
        """One that is removed and added within a moment keeps its socket."""
        self.start()
        inode = self.directories.inode("c1")
        self.store.remove("c1")
        self.store.put(C1)
        self.reactor.advance(0)
        self.assertEqual(self.directories.inode("c1"), inode)
        self.assert_sockets("c1", "c2")

    def test_stop(self) -> None:
        """Stopping removes the sockets; the directories, which are mounted, stay."""
        self.start()
        self.store.remove("c1")
        self.sockets.stop()
        self.sockets.stop()
        self.assertEqual(sorted(self.directories.names()), ["c1", "c2"])
        self.assertEqual(os.listdir(f"{self.path}/c2"), [])
        self.turns.stop()
        self.assertEqual(self.reactor.getReaders(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.start()
        self.assert_sockets("c2")

    def test_stopped_early(self) -> None:
        """Stopping before anything is made leaves nothing in the store or reactor."""
        self.store = store = CountingStore([C1], loaded=False)
        for turns in range(2):
            self.sockets = self.make_sockets()
            made = self.sockets.made()
            self.sockets.start()
            if turns:
                self.reactor.advance(0)
            self.sockets.stop()
            self.successResultOf(made)
            self.turns.stop()
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            self.assertEqual(store.waiting, 0)


class LeftoverTests(ContainerSocketsTestCase):
    """What the last process has left, for example after a ``SIGKILL``."""

    def test_leftovers(self) -> None:
        """Sockets on which nobody listens are replaced, in the same directories."""
        self.directories.make("c1").close()
        inode = os.stat(f"{self.path}/c1").st_ino
        self.start()
        self.assert_sockets("c1", "c2")
        self.assertEqual(os.stat(f"{self.path}/c1").st_ino, inode)

    def test_gone(self) -> None:
        """What is left of containers that are gone is removed like theirs."""
        self.directories.make("gone").close()
        self.start()
        self.assertEqual(os.listdir(f"{self.path}/gone"), [])
        self.reactor.advance(KEPT)
        self.assertEqual(sorted(self.directories.names()), ["c1", "c2"])

    def test_not_loaded(self) -> None:
        """Until the store is loaded, nothing is taken to be gone."""
        self.store = MemoryStore([C1], loaded=False)
        self.sockets = self.make_sockets()
        self.directories.make("c3").close()
        self.start()
        self.store.remove("c1")
        self.reactor.advance(KEPT)
        self.assertTrue(os.path.exists(f"{self.path}/c3/sock"))
        self.assertEqual(len(self.sockets), 1)
        self.store.put(C3)
        self.store.mark_loaded()
        self.reactor.advance(0)
        self.assert_sockets("c3")

    def test_broken(self) -> None:
        """What a container has, whose document cannot be read now, stays."""
        self.directories.make("broken").close()
        self.patch(self.store, "has", lambda _name: True)
        self.start()
        self.assertEqual(os.listdir(f"{self.path}/broken"), ["sock"])

    def test_loading_failed(self) -> None:
        """If the store cannot be loaded, its containers have sockets all the same."""
        self.patch(self.store, "loaded", lambda: fail(ZeroDivisionError()))
        self.directories.make("gone").close()
        self.start()
        self.assertEqual(len(self.sockets), 2)
        self.successResultOf(self.sockets.made())
        self.assertTrue(os.path.exists(f"{self.path}/gone/sock"))

    def test_not_listed(self) -> None:
        """A directory that cannot be listed is no reason to fail."""

        def names() -> list[str]:
            raise PermissionError(errno.EACCES, "no")

        self.patch(self.directories, "names", names)
        self.sockets.start()
        self.addCleanup(self.sockets.stop)
        lines = self.lines()
        self.assertIn("removed containers", lines[0])
        self.assertEqual(len(self.sockets), 2)


class FailureTests(ContainerSocketsTestCase):
    """Sockets that cannot be made."""

    def test_one(self) -> None:
        """One container without a socket harms no other; it is tried again."""
        os.makedirs(f"{self.path}/c1/sock")
        self.sockets.start()
        self.addCleanup(self.sockets.stop)
        failed, made = self.lines()
        self.assertEqual(
            failed,
            f"the socket {self.path}/c1/sock cannot be made or removed: Is a directory",
        )
        self.assertIn("1 containers have", made)
        self.assertEqual(self.sockets.missing, 1)
        self.assertEqual(self.sockets.problem("c1"), "Is a directory")
        with capturedLogs() as events:
            self.reactor.advance(RETRY)
        self.assertEqual(events, [])
        os.rmdir(f"{self.path}/c1/sock")
        self.reactor.advance(RETRY)
        self.assert_sockets("c1", "c2")
        self.assertEqual(self.sockets.missing, 0)

    def test_one_removed(self) -> None:
        """A removed container is not tried again."""
        os.makedirs(f"{self.path}/c1/sock")
        self.start()
        self.store.remove("c1")
        self.reactor.advance(RETRY)
        self.assertEqual(self.sockets.missing, 0)

    def test_too_many(self) -> None:
        """If there may be no more sockets, one line tells how many have none."""
        self.store.put(C3)
        self.sockets = self.make_sockets(most=1)
        self.sockets.start()
        self.addCleanup(self.sockets.stop)
        _made, surplus = self.lines()
        self.assertIn("2 containers have no socket: devlxd makes at most 1", surplus)
        self.assertEqual(self.sockets.missing, 2)
        self.assertIn("at most 1", str(self.sockets.problem("c3")))
        with capturedLogs() as events:
            self.reactor.advance(RETRY)
        self.assertEqual(events, [])
        for name in ("c1", "c2"):
            self.store.remove(name)
            self.reactor.advance(RETRY)
        self.assert_sockets("c3")
        self.assertEqual(self.sockets.missing, 0)

    def test_not_removed(self) -> None:
        """A socket that cannot be removed is logged, and the others are removed."""
        self.start()

        def remove_socket(_name: str) -> None:
            raise PermissionError(errno.EACCES, "no")

        self.patch(self.directories, "remove_socket", remove_socket)
        self.store.remove("c1")
        (line,) = self.lines()
        self.assertIn("c1/sock cannot be made or removed: no", line)
        self.sockets.stop()
        self.assertEqual(len(self.sockets), 0)


class HandedOverTests(ContainerSocketsTestCase):
    """Sockets that go to the next process."""

    def test_next_process(self) -> None:
        """A client that connects between two processes is accepted by the next."""
        self.start()
        handed_over = self.sockets.hand_over()
        self.sockets.stop()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{self.path}/c1/sock")
            self.sockets = self.make_sockets()
            self.sockets.start()
            for one in handed_over:
                self.sockets.adopt(one)
            self.reactor.advance(0)
            for reader in self.reactor.getReaders():
                reader.doRead()
            self.assertEqual(self.accepted, ["c1"])
        self.addCleanup(self.sockets.stop)
        self.assert_sockets("c1", "c2")
        self.assertEqual(
            {one.container: one.inode for one in handed_over},
            {name: self.directories.inode(name) for name in ("c1", "c2")},
        )

    def test_gone(self) -> None:
        """The socket of a container that is gone meanwhile is closed and removed."""
        self.start()
        handed_over = self.sockets.hand_over()
        self.store.remove("c1")
        self.sockets = self.make_sockets()
        self.sockets.start()
        for one in handed_over:
            self.sockets.adopt(one)
        self.reactor.advance(0)
        self.addCleanup(self.sockets.stop)
        self.assert_sockets("c2")
        self.assertEqual(os.listdir(f"{self.path}/c1"), [])

    def test_too_late(self) -> None:
        """A socket is closed if there is another one, or nothing is made any more."""
        self.start()
        first, second = self.sockets.hand_over()
        self.sockets.adopt(first)
        self.assertRaises(OSError, os.fstat, first.descriptor)
        self.directories.remove_socket("c2")
        self.start()
        self.sockets.adopt(second)
        self.assertRaises(OSError, os.fstat, second.descriptor)
        self.assert_sockets("c1", "c2")


class ObserverTests(StoreObserverContract, SynchronousTestCase):
    """The sockets, as an observer of a store."""

    def make_observer(self) -> IStoreObserver:
        """See `StoreObserverContract.make_observer`."""
        test = ContainerSocketsTestCase()
        test.setUp()
        self.addCleanup(test.doCleanups)
        test.start()
        return test.sockets
