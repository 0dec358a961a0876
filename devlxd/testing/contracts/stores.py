# -*- test-case-name: tests.containers.test_stores -*-
"""The contracts of `IContainerStore` and `IStoreObserver`."""

from __future__ import annotations

import weakref

from attrs import evolve
from twisted.internet.defer import CancelledError
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.interfaces import IContainerStore, IStoreObserver
from devlxd.model import Container
from devlxd.testing.contracts.base import ContractBase
from devlxd.testing.store_observers import RecordingStoreObserver

_C1 = Container("c1", {"user.a": "1"}, {"eth0": {"type": "nic"}})

_NEWER = evolve(_C1, config={"user.a": "2"})


def without_origin(container: Container | None) -> Container | None:
    """Return a snapshot without `Container.origin`, which each store chooses."""
    return container and evolve(container, origin="")


class ContainerStoreContract(ContractBase):
    """Tests of a container store.

    Override `make_store`, `put_container` and `remove_container`. Use
    `LoadingStoreContract` for a store that is not always loaded.

    The store may set `Container.origin` of its snapshots. All other values are
    those that were put into it.

    :ivar store: a new store for each test.
    """

    store: IContainerStore

    def make_store(self) -> IContainerStore:
        """Hook: return a new store that is loaded and has no containers."""
        raise NotImplementedError

    def put_container(self, container: Container) -> None:
        """Hook: add or replace a container in the source of `store`.

        Called with containers that have a config, devices and possibly an id.
        Returns when the store has noticed the change. A store on a
        `twisted.internet.task.Clock` advances it here, for example.
        """
        raise NotImplementedError

    def remove_container(self, name: str) -> None:
        """Hook: remove a container from the source of `store`, if it is there.

        Returns when the store has noticed the change.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the store."""
        self.store = self.make_store()

    def _changes(
        self, observer: RecordingStoreObserver
    ) -> list[tuple[str, Container | None, Container | None]]:
        return [
            (name, without_origin(old), without_origin(new))
            for name, old, new in observer.changes
        ]

    def test_interface(self) -> None:
        """The store provides `IContainerStore`."""
        self.assertTrue(verifyObject(IContainerStore, self.store))

    def test_get(self) -> None:
        """A container is found by its name, and no other container is found."""
        self.put_container(_C1)
        self.assertEqual(without_origin(self.store.get("c1")), _C1)
        self.assertIsNone(self.store.get("c2"))
        self.assertTrue(self.store.has("c1"))
        self.assertFalse(self.store.has("c2"))
        self.assertEqual(list(self.store.names()), ["c1"])

    def test_by_id(self) -> None:
        """A container is found by its id if no other container has the same id."""
        self.put_container(evolve(_C1, id="abc"))
        found = self.store.by_id("abc")
        self.assertIsNotNone(found)
        self.assertIs(found, self.store.get("c1"))
        self.assertIsNone(self.store.by_id(""))
        self.assertIsNone(self.store.by_id("c1"))
        self.put_container(evolve(_C1, name="c2", hostname="c2", id="abc"))
        self.assertIsNone(self.store.by_id("abc"))
        self.remove_container("c1")
        self.assertIs(self.store.by_id("abc"), self.store.get("c2"))
        self.put_container(evolve(_C1, name="c2", hostname="c2", id=""))
        self.assertIsNone(self.store.by_id("abc"))

    def test_same_snapshot(self) -> None:
        """An unchanged container is returned as the same object."""
        self.put_container(_C1)
        first = self.store.get("c1")
        self.put_container(evolve(_C1))
        self.assertIs(self.store.get("c1"), first)

    def test_loaded(self) -> None:
        """The Deferred of a loaded store has fired already."""
        self.assertIsNone(self.successResultOf(self.store.loaded()))

    def assert_cancelled_is_freed(self, store: IContainerStore) -> None:
        """Check that the store keeps no reference to a cancelled Deferred."""
        loaded = store.loaded()
        loaded.addErrback(lambda failure: failure.trap(CancelledError))
        loaded.cancel()
        self.successResultOf(loaded)
        reference = weakref.ref(loaded)
        del loaded
        self.assertIsNone(reference())

    def test_loaded_cancelled(self) -> None:
        """No reference to a cancelled Deferred is kept, and others still fire."""
        self.assert_cancelled_is_freed(self.store)
        self.assertIsNone(self.successResultOf(self.store.loaded()))

    def test_observed(self) -> None:
        """Observers are notified of each change once, with both snapshots."""
        observer = RecordingStoreObserver()
        self.store.watch(observer)
        self.put_container(_C1)
        self.put_container(evolve(_C1))
        self.put_container(_NEWER)
        self.remove_container("c1")
        self.remove_container("c1")
        self.assertEqual(
            self._changes(observer),
            [("c1", None, _C1), ("c1", _C1, _NEWER), ("c1", _NEWER, None)],
        )
        self.assertIsNone(self.store.get("c1"))

    def test_current_snapshot(self) -> None:
        """The store returns the new snapshot when observers are notified of it."""
        observer = _LookupObserver(self.store)
        self.store.watch(observer)
        self.put_container(_C1)
        self.put_container(_NEWER)
        self.remove_container("c1")
        self.assertEqual(observer.matches, [True, True, True])

    def test_unwatch(self) -> None:
        """An observer that has stopped watching is not notified."""
        observer = RecordingStoreObserver()
        self.store.watch(observer)
        self.store.unwatch(observer)
        self.put_container(_C1)
        self.assertEqual(observer.changes, [])
        self.assertRaises(ValueError, self.store.unwatch, observer)

    def test_unwatch_while_notified(self) -> None:
        """An observer may stop watching while it is notified; others are unaffected."""
        observer = RecordingStoreObserver()
        self.store.watch(_OnceObserver(self.store))
        self.store.watch(observer)
        self.put_container(_C1)
        self.put_container(_NEWER)
        self.assertEqual(len(observer.changes), 2)

    def test_raising_observer(self) -> None:
        """An exception of an observer is logged, and the others are notified."""
        observer = RecordingStoreObserver()
        self.store.watch(_RaisingObserver())
        self.store.watch(observer)
        self.put_container(_C1)
        self.assertEqual(self._changes(observer), [("c1", None, _C1)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class LoadingStoreContract(ContainerStoreContract):
    """Tests of a container store that is not loaded from the start.

    Override `make_loading_store` and `finish_loading`, and the hooks of
    `ContainerStoreContract`.
    """

    def make_loading_store(self) -> IContainerStore:
        """Hook: return a new store that is not loaded yet."""
        raise NotImplementedError

    def finish_loading(self, store: IContainerStore) -> None:
        """Hook: finish loading ``store``, which `make_loading_store` returned."""
        raise NotImplementedError

    def test_loaded_later(self) -> None:
        """The Deferreds of a store that is loading fire when it is loaded."""
        store = self.make_loading_store()
        loaded = [store.loaded(), store.loaded()]
        for deferred in loaded:
            self.assertNoResult(deferred)
        self.finish_loading(store)
        for deferred in (*loaded, store.loaded()):
            self.assertIsNone(self.successResultOf(deferred))

    def test_loading_cancelled(self) -> None:
        """A store that is loading keeps no reference to a cancelled Deferred."""
        store = self.make_loading_store()
        self.assert_cancelled_is_freed(store)
        self.finish_loading(store)
        self.assertIsNone(self.successResultOf(store.loaded()))

    def test_loaded_cancels_another(self) -> None:
        """A callback of one Deferred may cancel the next one."""
        store = self.make_loading_store()
        first, second, third = store.loaded(), store.loaded(), store.loaded()
        first.addCallback(lambda _: second.cancel())
        self.finish_loading(store)
        self.assertIsNone(self.successResultOf(first))
        self.failureResultOf(second, CancelledError)
        self.assertIsNone(self.successResultOf(third))


@implementer(IStoreObserver)
class _RaisingObserver:
    """An observer that raises an exception for each change."""

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        raise ZeroDivisionError("on purpose")


@implementer(IStoreObserver)
class _LookupObserver:
    """An observer that looks up each changed container in its store.

    :ivar matches: whether the store returned the new snapshot, for each change.
    """

    def __init__(self, store: IContainerStore) -> None:
        self._store = store
        self.matches: list[bool] = []

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        self.matches.append(self._store.get(name) is new)


@implementer(IStoreObserver)
class _OnceObserver:
    """An observer that stops watching its store at the first change."""

    def __init__(self, store: IContainerStore) -> None:
        self._store = store

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        self._store.unwatch(self)


class StoreObserverContract(ContractBase):
    """Tests of an observer of a container store. Override `make_observer`."""

    def make_observer(self) -> IStoreObserver:
        """Hook: return a new observer that has not been notified yet."""
        raise NotImplementedError

    def test_interface(self) -> None:
        """The observer provides `IStoreObserver`."""
        self.assertTrue(verifyObject(IStoreObserver, self.make_observer()))

    def test_changes(self) -> None:
        """An observer accepts all changes of a container, even repeated ones."""
        observer = self.make_observer()
        for _ in range(2):
            observer.changed("c1", None, _C1)
            observer.changed("c1", _C1, _NEWER)
            observer.changed("c1", _NEWER, None)

    def test_watching_late(self) -> None:
        """An observer accepts changes of containers that existed before it watched."""
        observer = self.make_observer()
        observer.changed("c1", _C1, _NEWER)
        observer.changed("c2", evolve(_C1, name="c2", hostname="c2"), None)
