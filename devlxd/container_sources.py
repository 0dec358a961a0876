# -*- test-case-name: tests.test_container_sources -*-
"""Where containers come from: the value of ``--containers``, and the store for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from attrs import frozen
from zope.interface import Attribute, Interface, implementer

from devlxd.containers.directory_check import check_directory
from devlxd.containers.directory_store import DirectoryStore
from devlxd.containers.document_findings import CheckedDocuments
from devlxd.containers.document_warnings import AccessKeys
from devlxd.containers.etcd_check import check_keys
from devlxd.containers.etcd_store import EtcdStore
from devlxd.etcd.blocking_gateway import BlockingGateway
from devlxd.etcd.errors import EtcdError
from devlxd.etcd.location import EtcdLocation, is_etcd
from devlxd.etcd.secret_files import check_files
from devlxd.host.inotify import INotify
from devlxd.host.startup import UsedDirectory
from devlxd.interfaces import IDevLXDReactor, IStoreService
from devlxd.limits import CurrentLimits


class IContainerSource(Interface):
    """Where the containers of one store come from.

    ``str()`` of a provider names it for people. Two providers for the same containers
    are equal.
    """

    key: bytes = Attribute("Distinguishes it in the names of the files of ``--state``.")

    directory: UsedDirectory | None = Attribute(
        "The directory for the checks at the start; ``None`` if it is none."
    )

    is_remote: bool = Attribute(
        "Whether it may be away, so that what is known of it is kept in ``--state``."
    )

    def check() -> None:
        """Check what can be checked before devlxd starts.

        :raises ValueError: if it cannot be used. The text is one line.
        """

    def check_documents(access_keys: AccessKeys, max_size: int) -> CheckedDocuments:
        """Check all documents, without a store.

        :param access_keys: the config keys that are checked for mistakes.
        :param max_size: the maximum length of a document, in bytes.
        :raises ValueError: if they cannot be read. The text is one line.
        """

    def make_store(
        reactor: IDevLXDReactor,
        access_keys: AccessKeys,
        limits: CurrentLimits,
        kept: Callable[[], str],
    ) -> IStoreService:
        """Return a new store.

        :param kept: returns the path of the file for what is kept of a remote source.
        """


@implementer(IContainerSource)
@frozen
class DirectorySource:
    """The documents in a directory."""

    path: Path
    is_remote = False

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def key(self) -> bytes:
        """See `IContainerSource.key`: the path without links."""
        return os.fsencode(self.path.resolve())

    @property
    def directory(self) -> UsedDirectory:
        """See `IContainerSource.directory`."""
        return UsedDirectory("containers", str(self.path))

    def check(self) -> None:
        """See `IContainerSource.check`."""
        try:
            os.listdir(self.path)
        except OSError as error:
            raise ValueError(f"{self.path}: {error.strerror}") from None

    def check_documents(
        self, access_keys: AccessKeys, max_size: int
    ) -> CheckedDocuments:
        """See `IContainerSource.check_documents`."""
        try:
            return check_directory(self.path, access_keys, max_size)
        except OSError as error:
            raise ValueError(f"{self.path}: {error.strerror}") from None

    def make_store(
        self,
        reactor: IDevLXDReactor,
        access_keys: AccessKeys,
        limits: CurrentLimits,
        kept: Callable[[], str],
    ) -> DirectoryStore:
        """See `IContainerSource.make_store`."""
        directory, watcher = self.path.resolve(), INotify(reactor)
        return DirectoryStore(
            directory, reactor, watcher, access_keys=access_keys, limits=limits
        )


@implementer(IContainerSource)
@frozen
class EtcdSource:
    """The documents below a prefix in etcd. Its endpoints may change."""

    location: EtcdLocation
    is_remote = True

    def __str__(self) -> str:
        """Return ``etcd:`` and the prefix."""
        return str(self.location)

    @property
    def key(self) -> bytes:
        """See `IContainerSource.key`."""
        return b"etcd:" + os.fsencode(self.location.prefix)

    @property
    def directory(self) -> None:
        """See `IContainerSource.directory`."""
        return None

    def check(self) -> None:
        """See `IContainerSource.check`: etcd itself may be away."""
        check_files(self.location)

    def check_documents(
        self, access_keys: AccessKeys, max_size: int
    ) -> CheckedDocuments:
        """See `IContainerSource.check_documents`."""
        self.check()
        gateways = [
            BlockingGateway(self.location, address)
            for address in self.location.endpoints
        ]
        try:
            return check_keys(self.location.prefix, gateways, access_keys, max_size)
        except EtcdError as error:
            raise ValueError(f"{self}: {error}") from None

    def make_store(
        self,
        reactor: IDevLXDReactor,
        access_keys: AccessKeys,
        limits: CurrentLimits,
        kept: Callable[[], str],
    ) -> EtcdStore:
        """See `IContainerSource.make_store`."""
        return EtcdStore.at(self.location, reactor, kept(), access_keys, limits)


def parse_source(text: str) -> IContainerSource:
    """Return what a value of ``--containers`` names.

    :raises ValueError: if it is no location in etcd, but begins like one. The text is
        one line.
    """
    if is_etcd(text):
        return EtcdSource(EtcdLocation.parse(text))
    return DirectorySource(Path(text).absolute())
