# -*- test-case-name: tests.containers.test_stores -*-
"""The base class of container stores."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import IContainerStore, IStoreObserver
from devlxd.model import Container


@implementer(IContainerStore)
class ContainerStoreBase:
    """A base class of stores that implements `IContainerStore`.

    A subclass reports its containers with

    * `put` and `remove` for a change of one container,
    * `replace_all` for a list of all containers,
    * `mark_loaded` when it has reported all containers that existed at its
      start, and `mark_loading` if it starts again.

    Only the subclass itself calls these methods and `replace`, unless its
    documentation makes them part of its interface. All methods of this class must
    be called in the reactor's thread.
    """

    _log = Logger()

    def __init__(self) -> None:
        self._containers: dict[str, Container] = {}
        self._names_by_id: dict[str, set[str]] = {}
        self._observers: list[IStoreObserver] = []
        self._is_loaded = False
        # Each key is a Deferred that `loaded` returned and that has not fired.
        self._awaiting_load: dict[Deferred[None], None] = {}

    def get(self, name: str) -> Container | None:
        """See `IContainerStore.get`."""
        return self._containers.get(name)

    def by_id(self, container_id: str) -> Container | None:
        """See `IContainerStore.by_id`."""
        names = self.names_with_id(container_id)
        return self._containers[next(iter(names))] if len(names) == 1 else None

    def names_with_id(self, container_id: str) -> Collection[str]:
        """Return the names of all containers with this id."""
        return self._names_by_id.get(container_id, ())

    def shared_ids(self) -> Iterator[Collection[str]]:
        """Iterate over the ids of several containers; yield the names of these."""
        return (names for names in self._names_by_id.values() if len(names) > 1)

    def names(self) -> Collection[str]:
        """See `IContainerStore.names`."""
        return list(self._containers)

    def has(self, name: str) -> bool:
        """See `IContainerStore.has`."""
        return name in self._containers

    def loaded(self) -> Deferred[None]:
        """See `IContainerStore.loaded`."""
        # A cancelled Deferred removes itself.
        loaded: Deferred[None] = Deferred(self._awaiting_load.pop)
        if self._is_loaded:
            loaded.callback(None)
        else:
            self._awaiting_load[loaded] = None
        return loaded

    def watch(self, observer: IStoreObserver) -> None:
        """See `IContainerStore.watch`."""
        self._observers.append(observer)

    def unwatch(self, observer: IStoreObserver) -> None:
        """See `IContainerStore.unwatch`."""
        self._observers.remove(observer)

    def mark_loaded(self) -> None:
        """Fire the Deferreds that `loaded` has returned, and will return."""
        self._is_loaded = True
        # One by one: a callback may cancel the next Deferred, or stop the store.
        while self._awaiting_load and self._is_loaded:
            loaded = next(iter(self._awaiting_load))
            del self._awaiting_load[loaded]
            loaded.callback(None)

    def mark_loading(self) -> None:
        """Make the Deferreds that `loaded` will return wait for `mark_loaded`."""
        self._is_loaded = False

    def put(self, container: Container) -> None:
        """Add ``container``, or replace the container of the same name.

        Does nothing if ``container`` equals the current snapshot.
        """
        if self._containers.get(container.name) != container:
            self.replace(container)

    def replace(self, container: Container) -> None:
        """Do the same as `put`, but do not compare the snapshots first."""
        old = self._containers.get(container.name)
        self._containers[container.name] = container
        self._update_ids(old, container)
        self._notify(container.name, old, container)

    def replace_all(self, containers: Iterable[Container]) -> None:
        """Replace all containers by ``containers``.

        Observers are notified of the differences only, one after the other:
        first of the removed containers, then of the new and the changed ones.

        :raises ValueError: when two containers have the same name. The store is
            unchanged then.
        """
        by_name: dict[str, Container] = {}
        for container in containers:
            if by_name.setdefault(container.name, container) is not container:
                raise ValueError(f"more than one container is named {container.name!r}")
        for name in [name for name in self._containers if name not in by_name]:
            self.remove(name)
        for container in by_name.values():
            self.put(container)

    def remove(self, name: str) -> None:
        """Remove the container ``name``; do nothing if there is none."""
        old = self._containers.pop(name, None)
        if old is not None:
            self._update_ids(old, None)
            self._notify(name, old, None)

    def _update_ids(self, old: Container | None, new: Container | None) -> None:
        if old is not None and old.id:
            self._names_by_id[old.id].discard(old.name)
            if not self._names_by_id[old.id]:
                del self._names_by_id[old.id]
        if new is not None and new.id:
            self._names_by_id.setdefault(new.id, set()).add(new.name)

    def _notify(self, name: str, old: Container | None, new: Container | None) -> None:
        for observer in list(self._observers):
            try:
                observer.changed(name, old, new)
            except Exception:
                self._log.failure(
                    "an observer failed to handle a change of container {name}",
                    name=name,
                )
