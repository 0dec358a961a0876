# -*- test-case-name: tests.containers.test_etcd_store -*-
"""A container store in etcd, with one key for each container."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.containers.document_warnings import NO_ACCESS_KEYS, AccessKeys
from devlxd.containers.etcd_documents import key_of
from devlxd.containers.kept_changes import KeptChanges
from devlxd.containers.pending_changes import Pending
from devlxd.containers.pending_store import PendingStoreBase
from devlxd.containers.source_log import SourceLog
from devlxd.etcd.changes import Change
from devlxd.etcd.gateway import EtcdGateway
from devlxd.etcd.interfaces import IEtcdGateway, ISyncTarget
from devlxd.etcd.kept_values import Position
from devlxd.etcd.location import SCHEME, EtcdLocation
from devlxd.etcd.synchronizer import Synchronizer
from devlxd.interfaces import (
    IDevLXDReactor,
    IDocuments,
    IRemoteStore,
    IStoreService,
)
from devlxd.limits import CurrentLimits
from devlxd.model import SourceState
from devlxd.printable_text import printable, printable_path

#: How long the store waits for etcd before it serves the kept documents, in seconds.
KEPT_DELAY = 2.0


@implementer(IDocuments, IRemoteStore, IStoreService, ISyncTarget)
class EtcdStore(PendingStoreBase, Service):
    """The containers below a prefix in etcd, kept up to date while the service runs.

    The key ``PREFIX NAME`` has the document of the container NAME. If it cannot be
    used, this is logged, and the last snapshot stays. The store never writes to etcd.

    While etcd is away, the last documents are served: those in memory, and after a
    restart those in a file. If there are none, the store is not loaded until etcd
    answers.

    :param prefix: what the keys begin with, up to the names of the containers.
    :param gateways: the members of etcd, at least one.
    :param reactor: for pauses, and schedules parsing.
    :param kept: the path of the file in which the last documents are kept; default:
        they are not kept.
    :param wall: returns the time, in seconds since 1970.
    :param access_keys: the config keys whose mistakes are logged.
    :param limits: the limits of documents; default: the usual ones.
    """

    _log = Logger()

    def __init__(
        self,
        prefix: str,
        gateways: Sequence[IEtcdGateway],
        reactor: IReactorTime,
        kept: str | None = None,
        wall: Callable[[], float] = time.time,
        access_keys: AccessKeys = NO_ACCESS_KEYS,
        limits: CurrentLimits | None = None,
    ) -> None:
        super().__init__(
            f"{SCHEME}{prefix}",
            reactor,
            KeptChanges(kept, reactor),
            access_keys,
            limits,
        )
        self._gateways = gateways
        self._wall = wall
        self._synchronizer = Synchronizer(
            gateways, prefix, reactor, self, lambda: self._limits.value.document_bytes
        )
        self._awaiting_settled: list[Deferred[None]] = []
        self._begin_again()

    @classmethod
    def at(
        cls,
        location: str | EtcdLocation,
        reactor: IDevLXDReactor,
        kept: str | None = None,
        access_keys: AccessKeys = NO_ACCESS_KEYS,
        limits: CurrentLimits | None = None,
    ) -> EtcdStore:
        """Return the store of a location, which is written as for ``--containers``.

        The other parameters are those of the class.

        :raises ValueError: if it is not such a location. The text is one line.
        """
        if isinstance(location, str):
            location = EtcdLocation.parse(location)
        for endpoint in location.endpoints:
            if location.user and endpoint.is_exposed:
                cls._log.warn(
                    "the password of user {user} is sent to {endpoint} unencrypted; "
                    "use https",
                    user=printable(location.user),
                    endpoint=endpoint.text,
                )
        return cls(
            location.prefix,
            [EtcdGateway(location, at, reactor) for at in location.endpoints],
            reactor,
            kept,
            access_keys=access_keys,
            limits=limits,
        )

    def _begin_again(self) -> None:
        """Discard all that is known about etcd."""
        self._source = SourceLog(self._base, self._reactor)
        self._has_begun = self._has_nothing = False
        self._serving: IDelayedCall | None = None

    def startService(self) -> None:
        """See `IService.startService`: read what is kept, and follow etcd."""
        super().startService()
        self.start_parsing()
        known = self._kept.open(self._position)
        if known.cluster_id:
            self._source.kept(self._wall() - self._kept.agreed)
            self._serving = self._reactor.callLater(KEPT_DELAY, self.resumed)
        self._synchronizer.start(known)

    def stopService(self) -> Deferred[None] | None:
        """See `IService.stopService`: the snapshots stay as they are."""
        if not self.running:
            return None
        super().stopService()
        self.mark_loading()
        self._synchronizer.stop()
        if self._serving is not None:
            self._serving.cancel()
        self._kept.close()
        self.stop_parsing()
        self._begin_again()
        closing = gatherResults([gateway.close() for gateway in self._gateways])
        return closing.addBoth(lambda _: None)

    def problem(self) -> str | None:
        """See `IDocuments.problem`."""
        problem = self._source.problem
        if self._is_loaded or not problem:
            return None
        return f"{printable_path(self._base)}: nothing is known ({problem})"

    def source_state(self) -> SourceState:
        """See `IRemoteStore.source_state`."""
        return self._source.state()

    def settled(self) -> Deferred[None]:
        """See `IRemoteStore.settled`."""
        settled = Deferred[None](self._awaiting_settled.remove)
        self._awaiting_settled.append(settled)
        if self._is_loaded or self._has_nothing:
            self._settle()
        return settled

    def _settle(self) -> None:
        while self._awaiting_settled:
            self._awaiting_settled.pop().callback(None)

    def mark_loaded(self) -> None:
        """See `ContainerStoreBase.mark_loaded`."""
        super().mark_loaded()
        self._settle()

    def reload(self) -> None:
        """Read every document again, if etcd answers; warnings are logged again."""
        if self.running:
            path = printable_path(self._base)
            self._log.info("reading all documents in {path} again", path=path)
            self._documents.warn_again()
            self._synchronizer.reread()

    def hold(self, is_held: bool) -> None:
        """See `PendingStoreBase.hold`."""
        valve = self._synchronizer.valve
        if is_held:
            valve.close()
        else:
            valve.open()

    def changed(self, changes: Sequence[Change]) -> None:
        """See `ISyncTarget.changed`."""
        self._kept.received(changes)
        self._add_all(changes)

    def _add_all(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.add(Pending(change))

    def resumed(self) -> None:
        """See `ISyncTarget.resumed`."""
        self._serve_kept()
        self._begin()

    def listed(self, changes: Sequence[Change]) -> None:
        """See `ISyncTarget.listed`."""
        for change in changes:
            self._kept.discard(change.key)
        self._serve_kept()
        self._kept.received(changes, is_list=True)
        self._add_all(changes)
        # The service may have been stopped meanwhile, and keeps no file.
        for name in self.names():
            if key_of(name) not in self._synchronizer.replica.held:
                self.add(Pending(Change(key_of(name), None)))
        self._begin()

    def confirmed(self, endpoint: str, since: float) -> None:
        """See `ISyncTarget.confirmed`."""
        self._source.confirmed(endpoint, since)
        self._kept.confirmed()

    def away(self, problem: str) -> None:
        """See `ISyncTarget.away`."""
        if self._synchronizer.replica.cluster_id:
            self._source.away(problem, is_known=True)
            self._serve_kept()
            self._begin()
        else:
            self._source.away(problem, is_known=False)
            self._has_nothing = True
            self._settle()

    def _begin(self) -> None:
        """Wait until the documents that are known now are read, once."""
        if not self._has_begun:
            self._has_begun = True
            self.begin_loading()

    def _serve_kept(self) -> None:
        """Serve the documents that are kept; those that were bad are bad again."""
        if self._serving is not None and self._serving.active():
            self._serving.cancel()
        self._serving = None
        for pending in self._kept.take():
            self.add(pending)

    def _position(self) -> Position | None:
        """Return up to where etcd was followed; ``None`` if it was not."""
        agreed, replica = self._source.agreed(), self._synchronizer.replica
        if not replica.cluster_id:
            return None
        age = 0.0 if agreed is None else self._reactor.seconds() - agreed
        return Position(
            replica.cluster_id,
            replica.timeline,
            replica.revision,
            self._wall() - age,
            replica.is_settled,
        )
