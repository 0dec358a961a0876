"""The interfaces of container stores, and of their observers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from zope.interface import Interface

from devlxd.model import Container, Fault, SourceState


class IContainerStore(Interface):
    """A source of containers.

    `devlxd.testing.contracts.ContainerStoreContract` tests a provider, and
    `devlxd.containers.store_base.ContainerStoreBase` implements most of one.
    """

    def get(name: str) -> Container | None:
        """Return the current snapshot of the container ``name``.

        Takes constant time, and reads no file once the store is loaded. An
        unchanged container is always returned as the same object.

        :return: the snapshot, or ``None`` if there is no such container.
        """

    def by_id(container_id: str) -> Container | None:
        """Return the current snapshot of the container with this id.

        Takes constant time, and reads no file, like `get`.

        :param container_id: as in `Container.id`.
        :return: the snapshot, or ``None`` if no container has this id, or more
            than one.
        """

    def names() -> Collection[str]:
        """Return the names of all containers that have a snapshot, in any order."""

    def has(name: str) -> bool:
        """Return whether the container ``name`` exists.

        :return: ``True`` even if the container has no snapshot yet, for example
            because its document cannot be read at present.
        """

    def loaded() -> Deferred[None]:
        """Return a Deferred that fires when the store is loaded.

        A store is loaded when it has read every container that existed when it
        was started.

        :return: a new Deferred for each call. It has fired already if the store is
            loaded. If it is cancelled, the store keeps no reference to it.
        """

    def watch(observer: IStoreObserver) -> None:
        """Notify ``observer`` once of each change of a container from now on.

        An exception that an observer raises is logged. It affects neither the
        other observers nor the store.
        """

    def unwatch(observer: IStoreObserver) -> None:
        """Stop notifying ``observer``.

        :raises ValueError: if ``observer`` is not being notified.
        """


class IStoreObserver(Interface):
    """An observer of a store, notified of each change of a container."""

    def changed(name: str, old: Container | None, new: Container | None) -> None:
        """Called after a container was added, changed or removed.

        :param name: the name of the container.
        :param old: the previous snapshot; ``None`` if the container is new.
        :param new: the current snapshot, which `IContainerStore.get` returns
            already; ``None`` if the container was removed.
        """


class IStoreService(IContainerStore, IService):
    """A store that is a service, and can read everything again."""

    def reload() -> None:
        """Read every document again, even if it is unchanged.

        Does nothing while the service is stopped.
        """


class IRemoteStore(Interface):
    """A store that follows a remote source, which may be away.

    It serves what it knew last while the source is away.
    """

    def source_state() -> SourceState:
        """Return how the store agrees with its source."""

    def settled() -> Deferred[None]:
        """Return a Deferred that fires when nothing more can be known for now.

        It fires when the store is loaded, or the source is away and nothing of it is
        known. It does not fail.
        """


class IDocuments(Interface):
    """A store whose containers are written in documents, which may have faults."""

    def document_of(name: str) -> str | None:
        """Return the path of the document of a container.

        :return: ``None`` if there is none.
        """

    def faults() -> Sequence[Fault]:
        """Return what is wrong with the documents now, in any order."""

    def problem() -> str | None:
        """Return why the documents cannot be read at all, in one line.

        :return: ``None`` if they can.
        """
