# -*- test-case-name: tests.admin.test_service -*-
"""The operator's socket as a service."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.application.service import MultiService

from devlxd.admin.endpoint import AdminEndpoint
from devlxd.admin.listener import AdminListener
from devlxd.admin.operation import Guests, Operation
from devlxd.admin.records import Records
from devlxd.admin.site import AdminSite
from devlxd.admin.tree import admin_routes
from devlxd.interfaces import (
    IContainerStore,
    IDevLXDReactor,
    IGuestService,
    IServiceObserver,
)


class AdminService(MultiService):
    """The operator's socket: what the guest services of this process say.

    Each guest service is created with the observer that `observer_for` returns, and is
    then passed to `add`.

    :param reactor: for timeouts and connections.
    :param endpoints: where to listen.
    :param operation: the state of the process; `add` adds the guest services to it.
    """

    def __init__(
        self,
        reactor: IDevLXDReactor,
        endpoints: Iterable[AdminEndpoint],
        operation: Operation,
    ) -> None:
        super().__init__()
        self._operation = operation
        self._records: list[tuple[IContainerStore, Records]] = []
        routes = admin_routes(operation)
        for at in endpoints:
            site = AdminSite(routes, reactor, at.is_tcp)
            listener = AdminListener(at.endpoint(reactor), site, reactor)
            listener.setServiceParent(self)

    def observer_for(self, store: IContainerStore) -> IServiceObserver:
        """Return a new observer for the guest service of a store."""
        records = Records(store, self._operation.now)
        self._records.append((store, records))
        return records

    def add(self, service: IGuestService) -> None:
        """Add a guest service, whose observer `observer_for` has returned."""
        (records,) = (r for store, r in self._records if store is service.store)
        self._operation.guests.append(Guests(service, records))

    def startService(self) -> None:
        """See `IService.startService`."""
        self._operation.begin()
        super().startService()
