"""Contract tests of `IContainerStore`, run on every provider."""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from devlxd.containers.directory import GRACE, DirectoryStore
from devlxd.containers.memory import MemoryStore
from devlxd.interfaces import IContainerStore, IStoreObserver
from devlxd.model import Container
from devlxd.testing import MemoryWatcher

C1 = Container("c1", {"user.a": "1"}, {"eth0": {"type": "nic"}})


@implementer(IStoreObserver)
@define
class RecordingObserver:
    """Remembers what it hears."""

    heard: list[tuple[str, Container | None, Container | None]] = field(factory=list)

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        self.heard.append((name, known(old), known(new)))


@implementer(IStoreObserver)
class RaisingObserver:
    """Fails at whatever it hears."""

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        raise ZeroDivisionError("on purpose")


def known(container: Container | None) -> Container | None:
    """Return a snapshot without what only its store knows of it."""
    return container and evolve(container, origin="")


verifyClass(IStoreObserver, RecordingObserver)
verifyClass(IStoreObserver, RaisingObserver)


class Fixture(Protocol):
    """A store, and a way to change what it holds."""

    @property
    def store(self) -> IContainerStore: ...

    def put(self, container: Container) -> None: ...

    def remove(self, name: str) -> None: ...


@define
class MemoryFixture:
    """A `MemoryStore` is changed by its own methods."""

    store: MemoryStore = field(factory=MemoryStore)

    def put(self, container: Container) -> None:
        self.store.put(container)

    def remove(self, name: str) -> None:
        self.store.remove(name)


class DirectoryFixture:
    """A `DirectoryStore` is changed by changing its directory."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        self.clock = Clock()
        self.watcher = MemoryWatcher()
        self.store = DirectoryStore(self.path, self.clock, self.watcher)
        self.store.startService()
        self.clock.advance(0)

    def put(self, container: Container) -> None:
        devices = {name: dict(device) for name, device in container.devices.items()}
        config = dict(container.config)
        document = {"config": config, "devices": devices, "id": container.id}
        (self.path / f"{container.name}.json").write_text(json.dumps(document))
        self._settle(container.name)

    def remove(self, name: str) -> None:
        (self.path / f"{name}.json").unlink(missing_ok=True)
        self._settle(name)

    def _settle(self, name: str) -> None:
        self.watcher.tell(self.path / f"{name}.json")
        self.watcher.poll()
        self.clock.pump([0, GRACE, 0])


def store_tests(fixture: Callable[[], Fixture]) -> type[SynchronousTestCase]:
    """Make the tests of what every store promises."""

    class StoreTests(SynchronousTestCase):
        """The contract of `IContainerStore`."""

        def setUp(self) -> None:
            self.fixture = fixture()
            self.store = self.fixture.store

        def test_interface(self) -> None:
            """It provides the interface."""
            self.assertTrue(verifyObject(IContainerStore, self.store))

        def test_get(self) -> None:
            """What was put in is handed out by its name, and nothing else is."""
            self.fixture.put(C1)
            self.assertEqual(known(self.store.get("c1")), C1)
            self.assertIsNone(self.store.get("c2"))
            self.assertTrue(self.store.has("c1"))
            self.assertFalse(self.store.has("c2"))
            self.assertEqual(list(self.store.names()), ["c1"])

        def test_by_id(self) -> None:
            """What has an id is found by it, if nothing else has the same one."""
            self.fixture.put(evolve(C1, id="abc"))
            found = self.store.by_id("abc")
            self.assertIsNotNone(found)
            self.assertIs(found, self.store.get("c1"))
            self.assertIsNone(self.store.by_id(""))
            self.assertIsNone(self.store.by_id("c1"))
            self.fixture.put(evolve(C1, name="c2", hostname="c2", id="abc"))
            self.assertIsNone(self.store.by_id("abc"))
            self.fixture.remove("c1")
            self.assertIs(self.store.by_id("abc"), self.store.get("c2"))
            self.fixture.put(evolve(C1, name="c2", hostname="c2", id=""))
            self.assertIsNone(self.store.by_id("abc"))

        def test_loaded(self) -> None:
            """Who waits until all is there does so no longer than that."""
            self.assertIsNone(self.successResultOf(self.store.loaded()))

        def test_loaded_cancelled(self) -> None:
            """Who waits no longer costs others nothing."""
            waiting = self.store.loaded()
            waiting.addErrback(lambda failure: failure.trap(CancelledError))
            waiting.cancel()
            self.successResultOf(waiting)
            kept = weakref.ref(waiting)
            del waiting
            self.assertIsNone(kept())
            self.assertIsNone(self.successResultOf(self.store.loaded()))

        def test_same_snapshot(self) -> None:
            """An unchanged container is handed out as the very same snapshot."""
            self.fixture.put(C1)
            first = self.store.get("c1")
            self.fixture.put(evolve(C1))
            self.assertIs(self.store.get("c1"), first)

        def test_observed(self) -> None:
            """Observers hear of each change once, with both snapshots."""
            observer = RecordingObserver()
            self.store.watch(observer)
            newer = evolve(C1, config={"user.a": "2"})
            self.fixture.put(C1)
            self.fixture.put(evolve(C1))
            self.fixture.put(newer)
            self.fixture.remove("c1")
            self.fixture.remove("c1")
            self.assertEqual(
                observer.heard,
                [("c1", None, C1), ("c1", C1, newer), ("c1", newer, None)],
            )
            self.assertIsNone(self.store.get("c1"))

        def test_unwatch(self) -> None:
            """Who does not watch any more hears nothing."""
            observer = RecordingObserver()
            self.store.watch(observer)
            self.store.unwatch(observer)
            self.fixture.put(C1)
            self.assertEqual(observer.heard, [])
            self.assertRaises(ValueError, self.store.unwatch, observer)

        def test_raising_observer(self) -> None:
            """An observer that fails costs nobody else anything."""
            observer = RecordingObserver()
            self.store.watch(RaisingObserver())
            self.store.watch(observer)
            self.fixture.put(C1)
            self.assertEqual(observer.heard, [("c1", None, C1)])
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    return StoreTests


MemoryStoreTests = store_tests(MemoryFixture)
DirectoryStoreTests = store_tests(DirectoryFixture)
