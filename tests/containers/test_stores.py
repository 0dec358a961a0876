"""The contracts of `IContainerStore` and `IStoreObserver`, and other store tests."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock, LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.directory_store import DirectoryStore
from devlxd.containers.memory_store import MemoryStore
from devlxd.containers.removals import GRACE
from devlxd.containers.store_base import ContainerStoreBase
from devlxd.events.bus import EventBus
from devlxd.events.journal import SQLiteJournal
from devlxd.interfaces import IContainerStore, IStoreObserver
from devlxd.model import Container
from devlxd.testing import MemoryWatcher, RecordingStoreObserver
from devlxd.testing.contracts import LoadingStoreContract, StoreObserverContract


class MemoryStoreTests(LoadingStoreContract, SynchronousTestCase):
    """The contract of a store in memory, changed by its own methods."""

    store: MemoryStore

    def make_store(self) -> IContainerStore:
        """See `ContainerStoreContract.make_store`."""
        return MemoryStore()

    def put_container(self, container: Container) -> None:
        """See `ContainerStoreContract.put_container`."""
        self.store.put(container)

    def remove_container(self, name: str) -> None:
        """See `ContainerStoreContract.remove_container`."""
        self.store.remove(name)

    def make_loading_store(self) -> IContainerStore:
        """See `LoadingStoreContract.make_loading_store`."""
        return MemoryStore(loaded=False)

    def finish_loading(self, store: IContainerStore) -> None:
        """See `LoadingStoreContract.finish_loading`."""
        assert isinstance(store, MemoryStore)
        store.mark_loaded()


class ReplaceAllTests(MemoryStoreTests):
    """The contract of a store in memory that receives a list of all containers."""

    def put_container(self, container: Container) -> None:
        """See `ContainerStoreContract.put_container`."""
        others = [self.store.get(n) for n in self.store.names() if n != container.name]
        self.store.replace_all([container, *filter(None, others)])

    def remove_container(self, name: str) -> None:
        """See `ContainerStoreContract.remove_container`."""
        others = [self.store.get(n) for n in self.store.names() if n != name]
        self.store.replace_all(filter(None, others))


class DirectoryStoreTests(LoadingStoreContract, SynchronousTestCase):
    """The contract of a directory store, changed by writing documents."""

    def make_store(self) -> IContainerStore:
        """See `ContainerStoreContract.make_store`."""
        store = self.make_loading_store()
        self.finish_loading(store)
        return store

    def make_loading_store(self) -> IContainerStore:
        """See `LoadingStoreContract.make_loading_store`."""
        self.path = Path(tempfile.mkdtemp(dir="."))
        self.clock = Clock()
        self.watcher = MemoryWatcher()
        return DirectoryStore(self.path, self.clock, self.watcher)

    def finish_loading(self, store: IContainerStore) -> None:
        """See `LoadingStoreContract.finish_loading`."""
        assert isinstance(store, DirectoryStore)
        store.startService()
        self.addCleanup(store.stopService)
        self.clock.advance(0)

    def put_container(self, container: Container) -> None:
        """See `ContainerStoreContract.put_container`."""
        devices = {name: dict(device) for name, device in container.devices.items()}
        config = dict(container.config)
        document = {"config": config, "devices": devices, "id": container.id}
        (self.path / f"{container.name}.json").write_text(json.dumps(document))
        self.report(container.name)

    def remove_container(self, name: str) -> None:
        """See `ContainerStoreContract.remove_container`."""
        (self.path / f"{name}.json").unlink(missing_ok=True)
        self.report(name)

    def report(self, name: str) -> None:
        """Report a change of a document, and wait until it is read."""
        self.watcher.report(self.path / f"{name}.json")
        self.watcher.poll()
        self.clock.pump([0, GRACE, 0])


class PollingStore(ContainerStoreBase, Service):
    """A store that an embedder might write: it polls a list of all containers."""

    def __init__(
        self, inventory: Callable[[], Iterable[Container]], reactor: IReactorTime
    ) -> None:
        super().__init__()
        self._inventory = inventory
        self._polling = LoopingCall(self._poll)
        self._polling.clock = reactor

    def startService(self) -> None:
        super().startService()
        self._polling.start(5.0)

    def stopService(self) -> None:
        super().stopService()
        self._polling.stop()
        self.mark_loading()

    def _poll(self) -> None:
        self.replace_all(self._inventory())
        self.mark_loaded()


class PollingStoreTests(LoadingStoreContract, SynchronousTestCase):
    """The contract of a store that is built on `ContainerStoreBase`."""

    def make_store(self) -> IContainerStore:
        """See `ContainerStoreContract.make_store`."""
        store = self.make_loading_store()
        self.finish_loading(store)
        return store

    def make_loading_store(self) -> IContainerStore:
        """See `LoadingStoreContract.make_loading_store`."""
        self.clock = Clock()
        self.inventory: dict[str, Container] = {}
        return PollingStore(self.inventory.values, self.clock)

    def finish_loading(self, store: IContainerStore) -> None:
        """See `LoadingStoreContract.finish_loading`."""
        assert isinstance(store, PollingStore)
        store.startService()
        self.addCleanup(store.stopService)

    def put_container(self, container: Container) -> None:
        """See `ContainerStoreContract.put_container`."""
        self.inventory[container.name] = container
        self.clock.advance(5)

    def remove_container(self, name: str) -> None:
        """See `ContainerStoreContract.remove_container`."""
        self.inventory.pop(name, None)
        self.clock.advance(5)

    def test_restart(self) -> None:
        """A store that was stopped is loading until it is loaded again."""
        store = self.make_loading_store()
        assert isinstance(store, PollingStore)
        store.startService()
        store.stopService()
        loaded = store.loaded()
        self.assertNoResult(loaded)
        self.finish_loading(store)
        self.assertIsNone(self.successResultOf(loaded))

    def test_loading_again_in_callback(self) -> None:
        """If a callback makes the store load again, the other callbacks wait for it."""
        store = self.make_loading_store()
        assert isinstance(store, PollingStore)
        first, second = store.loaded(), store.loaded()
        first.addCallback(lambda _: store.mark_loading())
        store.mark_loaded()
        self.assertIsNone(self.successResultOf(first))
        self.assertNoResult(second)
        store.mark_loaded()
        self.assertIsNone(self.successResultOf(second))


class RecordingStoreObserverTests(StoreObserverContract, SynchronousTestCase):
    """The contract of `RecordingStoreObserver`."""

    def make_observer(self) -> IStoreObserver:
        """See `StoreObserverContract.make_observer`."""
        return RecordingStoreObserver()

    def test_recorded(self) -> None:
        """All changes are recorded, with their arguments."""
        observer = RecordingStoreObserver()
        new = Container("c1")
        observer.changed("c1", None, new)
        self.assertEqual(observer.changes, [("c1", None, new)])
        self.assertIs(observer.changes[0][2], new)


class EventBusTests(StoreObserverContract, SynchronousTestCase):
    """The contract of the event bus."""

    def make_observer(self) -> IStoreObserver:
        """See `StoreObserverContract.make_observer`."""
        bus = EventBus(MemoryStore(), SQLiteJournal(), Clock(), namespaces=[])
        bus.startService()
        self.addCleanup(bus.stopService)
        return bus


class MemoryStoreOwnTests(SynchronousTestCase):
    """The methods of `MemoryStore` that are not part of the contract."""

    def setUp(self) -> None:
        self.c1, self.c2, self.c3 = (
            Container(name, {"user.a": "1"}, id=f"id-{name}")
            for name in ("c1", "c2", "c3")
        )
        self.store = MemoryStore([self.c1, self.c2])
        self.observer = RecordingStoreObserver()
        self.store.watch(self.observer)

    def test_replace_all(self) -> None:
        """Observers are notified of the differences only: removals come first."""
        newer = evolve(self.c2, config={"user.a": "2"})
        self.store.replace_all(iter([self.c3, newer]))
        self.assertEqual(
            self.observer.changes,
            [("c1", self.c1, None), ("c3", None, self.c3), ("c2", self.c2, newer)],
        )
        self.assertEqual(sorted(self.store.names()), ["c2", "c3"])
        self.assertIsNone(self.store.by_id("id-c1"))
        self.assertIs(self.store.by_id("id-c3"), self.c3)

    def test_replace_all_equal(self) -> None:
        """Equal snapshots change nothing: the store keeps those that it has."""
        self.store.replace_all([evolve(self.c2), evolve(self.c1)])
        self.assertEqual(self.observer.changes, [])
        self.assertIs(self.store.get("c1"), self.c1)
        self.store.replace_all([])
        self.assertEqual(len(self.observer.changes), 2)
        self.assertEqual(list(self.store.names()), [])

    def test_replace_all_moves_id(self) -> None:
        """A new container may have the id of one that is removed."""
        new = evolve(self.c3, id="id-c1")
        self.store.replace_all([new, self.c2])
        self.assertIs(self.store.by_id("id-c1"), new)

    def test_replace_all_same_name(self) -> None:
        """Two containers with the same name are rejected, and nothing changes."""
        with self.assertRaisesRegex(ValueError, "'c3'"):
            self.store.replace_all([self.c3, evolve(self.c3, id="other")])
        self.assertEqual(self.observer.changes, [])
        self.assertEqual(sorted(self.store.names()), ["c1", "c2"])

    def test_set_config(self) -> None:
        """A key is added, changed, and removed by ``None``; nothing else changes."""
        self.store.set_config("c1", "user.b", "2")
        self.store.set_config("c1", "user.a", "3")
        self.store.set_config("c1", "user.b", None)
        configs = [dict(new.config) for _, _, new in self.observer.changes if new]
        self.assertEqual(
            configs,
            [
                {"user.a": "1", "user.b": "2"},
                {"user.a": "3", "user.b": "2"},
                {"user.a": "3"},
            ],
        )
        self.assertEqual(self.store.get("c1"), evolve(self.c1, config={"user.a": "3"}))

    def test_set_device(self) -> None:
        """A device is added, replaced as a whole, and removed by ``None``."""
        for values in ({"type": "nic", "mtu": "9000"}, {"type": "nic"}, None):
            self.store.set_device("c1", "eth0", values)
        devices = [
            {name: dict(device) for name, device in new.devices.items()}
            for _, _, new in self.observer.changes
            if new
        ]
        self.assertEqual(
            devices,
            [
                {"eth0": {"type": "nic", "mtu": "9000"}},
                {"eth0": {"type": "nic"}},
                {},
            ],
        )
        self.assertEqual(self.store.get("c1"), self.c1)

    def test_set_to_same(self) -> None:
        """Nothing changes if a key or a device is as before, or is not there."""
        self.store.set_config("c1", "user.a", "1")
        self.store.set_config("c1", "user.none", None)
        self.store.set_device("c1", "eth0", None)
        self.assertEqual(self.observer.changes, [])

    def test_set_unknown(self) -> None:
        """A container that is not in the store is named, and not added."""
        for change in (self.store.set_config, self.store.set_device):
            with self.assertRaisesRegex(KeyError, "there is no container 'c9'"):
                change("c9", "user.a", None)
        self.assertEqual(self.observer.changes, [])

    def test_set_not_text(self) -> None:
        """What is not text is refused by its name, and nothing changes."""
        values: Any = 1
        with self.assertRaisesRegex(TypeError, "'user.a' must be text, not int"):
            self.store.set_config("c1", "user.a", values)
        with self.assertRaisesRegex(TypeError, "config key 1 must be text"):
            self.store.set_config("c1", values, "x")
        with self.assertRaisesRegex(TypeError, "device 'eth0' must be a mapping"):
            self.store.set_device("c1", "eth0", values)
        with self.assertRaisesRegex(TypeError, "device 'eth0' key 'mtu' must be text"):
            self.store.set_device("c1", "eth0", {"mtu": values})
        self.assertEqual(self.observer.changes, [])

    def test_replace(self) -> None:
        """`replace` does not compare: observers are notified of an equal snapshot."""
        equal = evolve(self.c1)
        self.store.replace(equal)
        self.assertEqual(self.observer.changes, [("c1", self.c1, equal)])
        self.assertIs(self.store.get("c1"), equal)
