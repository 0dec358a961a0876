"""Seams of what is known: stores of containers."""

from __future__ import annotations

from collections.abc import Collection

from twisted.internet.defer import Deferred
from zope.interface import Interface

from devlxd.model import (
    Container,
)


class IContainerStore(Interface):
    """Where containers come from."""

    def get(name: str) -> Container | None:
        """Return the present snapshot of the container ``name``.

        Costs no search, and no disk access once the store is loaded.

        :return: the snapshot, or ``None`` where there is no such container.
        """

    def by_id(container_id: str) -> Container | None:
        """Return the present snapshot of the container with an id.

        Costs as little as `get`.

        :return: the snapshot, or ``None`` where no container has that id, or
            more than one.
        """

    def names() -> Collection[str]:
        """Return the names of all containers, in no order."""

    def has(name: str) -> bool:
        """Tell whether there is a container ``name``, known or not.

        :return: true also where its document cannot be read for the moment.
        """

    def loaded() -> Deferred[None]:
        """Wait until every container has been heard of that there was before.

        :return: a new Deferred; it has fired already if that is long ago. If it
            is cancelled, nothing of it is kept.
        """

    def watch(observer: IStoreObserver) -> None:
        """Tell ``observer`` of each change from now on, once a change."""

    def unwatch(observer: IStoreObserver) -> None:
        """Tell ``observer`` of nothing any more.

        :raises ValueError: when it does not watch.
        """


class IStoreObserver(Interface):
    """Who hears of changed containers."""

    def changed(name: str, old: Container | None, new: Container | None) -> None:
        """Hear that one snapshot took the place of another.

        :param old: the snapshot until now; ``None`` for a new container.
        :param new: the snapshot from now on, already what the store's ``get``
            returns; ``None`` for a container that went.
        """
