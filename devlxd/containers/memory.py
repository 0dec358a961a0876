# -*- test-case-name: tests.containers.test_stores -*-
"""A container store in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import IContainerStore, IStoreObserver
from devlxd.model import Container


@implementer(IContainerStore)
class MemoryStore:
    """Containers that somebody else puts in, one call a change.

    A host agent that knows its containers already fills one of these;
    `devlxd.containers.directory.DirectoryStore` keeps its snapshots in one.
    """

    _log = Logger()

    def __init__(self, containers: Iterable[Container] = ()) -> None:
        self._containers: dict[str, Container] = {}
        self._ids: dict[str, set[str]] = {}
        self._observers: list[IStoreObserver] = []
        for container in containers:
            self.put(container)

    def get(self, name: str) -> Container | None:
        """See `IContainerStore.get`."""
        return self._containers.get(name)

    def by_id(self, container_id: str) -> Container | None:
        """See `IContainerStore.by_id`."""
        names = self.names_with(container_id)
        return self._containers[next(iter(names))] if len(names) == 1 else None

    def names_with(self, container_id: str) -> Collection[str]:
        """Return the names of the containers that have an id; it should be one."""
        return self._ids.get(container_id, ())

    def names(self) -> Collection[str]:
        """See `IContainerStore.names`."""
        return list(self._containers)

    def has(self, name: str) -> bool:
        """See `IContainerStore.has`."""
        return name in self._containers

    def loaded(self) -> Deferred[None]:
        """See `IContainerStore.loaded`: what there is was put in."""
        return succeed(None)

    def watch(self, observer: IStoreObserver) -> None:
        """See `IContainerStore.watch`."""
        self._observers.append(observer)

    def unwatch(self, observer: IStoreObserver) -> None:
        """See `IContainerStore.unwatch`."""
        self._observers.remove(observer)

    def put(self, container: Container) -> None:
        """Let ``container`` take the place of the one with its name, if any.

        Where it equals the present snapshot nothing has changed, and no
        observer hears of it.
        """
        if self._containers.get(container.name) != container:
            self.replace(container)

    def replace(self, container: Container) -> None:
        """Let it take the place of another, without a look at what has changed."""
        old = self._containers.get(container.name)
        self._containers[container.name] = container
        self._index(old, container)
        self._tell(container.name, old, container)

    def remove(self, name: str) -> None:
        """Forget the container ``name``; do nothing where there is none."""
        old = self._containers.pop(name, None)
        if old is not None:
            self._index(old, None)
            self._tell(name, old, None)

    def _index(self, old: Container | None, new: Container | None) -> None:
        if old is not None and old.id:
            self._ids[old.id].discard(old.name)
            if not self._ids[old.id]:
                del self._ids[old.id]
        if new is not None and new.id:
            self._ids.setdefault(new.id, set()).add(new.name)

    def _tell(self, name: str, old: Container | None, new: Container | None) -> None:
        for observer in list(self._observers):
            try:
                observer.changed(name, old, new)
            except Exception:
                self._log.failure("an observer failed on {name}", name=name)
