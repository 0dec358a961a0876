# -*- test-case-name: tests.admin.test_service -*-
"""The operator's socket as a service."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred

from devlxd.admin.endpoint import AdminEndpoint
from devlxd.admin.event_feed import EventFeed
from devlxd.admin.event_reporter import EventReporter
from devlxd.admin.listener import AdminListener
from devlxd.admin.metrics import Metrics
from devlxd.admin.operation import Guests, Operation
from devlxd.admin.operator_observer import OperatorObserver
from devlxd.admin.records import Records
from devlxd.admin.site import AdminSite
from devlxd.admin.tree import admin_routes, page_routes
from devlxd.interfaces import (
    IContainerStore,
    IDevLXDReactor,
    IGuestService,
    IServiceObserver,
)


@frozen
class _Observed:
    """A store whose guest service is observed, and the two parts of the observer."""

    store: IContainerStore
    directory: str
    records: Records
    reporter: EventReporter


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
        self._feed = EventFeed(reactor, operation.now)
        self._observed: list[_Observed] = []
        self._metrics = Metrics(operation)
        routes = {
            **admin_routes(operation, self._feed, reactor),
            **page_routes(operation, self._metrics),
        }
        for at in endpoints:
            site = AdminSite(routes, reactor, at.is_tcp)
            listener = AdminListener(at.endpoint(reactor), site, reactor)
            listener.setServiceParent(self)

    def observer_for(
        self, store: IContainerStore, directory: str = ""
    ) -> IServiceObserver:
        """Return a new observer for the guest service of a store.

        :param directory: the directory of the containers, which its events have if
            there are several services.
        """
        records = Records(store, self._operation.now)
        reporter = EventReporter(self._feed)
        self._observed.append(_Observed(store, directory, records, reporter))
        if len(self._observed) > 1:
            for each in self._observed:
                each.reporter.fields = {"directory": each.directory}
        return OperatorObserver(records, reporter, self._metrics.counter, self._feed)

    def add(self, service: IGuestService) -> None:
        """Add a guest service, whose observer `observer_for` has returned."""
        for each in self._observed:
            if each.store is service.store:
                self._operation.guests.append(Guests(service, each.records))
                service.states.watch(each.reporter)

    def startService(self) -> None:
        """See `IService.startService`."""
        self._operation.begin()
        super().startService()

    def stopService(self) -> Deferred[object]:
        """See `IService.stopService`: end the streams, and stop listening."""
        self._feed.end()
        stopped: Deferred[object] = super().stopService()
        return stopped
