# -*- test-case-name: tests.admin.test_tree -*-
"""The paths of the operator's socket."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime

from devlxd.admin.actions import ReloadResource, WhyResource
from devlxd.admin.containers import ContainerResource, ContainersResource
from devlxd.admin.event_feed import EventFeed
from devlxd.admin.event_stream import EventsResource
from devlxd.admin.metrics import Metrics, MetricsResource
from devlxd.admin.operation import Operation
from devlxd.admin.overview import OverviewResource
from devlxd.admin.page import FILES, FileResource, PageResource
from devlxd.admin.resource import AdminResource
from devlxd.admin.status import HealthResource, StatusResource


def admin_routes(
    operation: Operation, feed: EventFeed, reactor: IReactorTime
) -> Mapping[str, AdminResource]:
    """Return the resource of each path; see `AdminSite`."""
    return {
        "/status": StatusResource(operation),
        "/containers": ContainersResource(operation),
        "/containers/*": ContainerResource(operation),
        "/events": EventsResource(feed, reactor),
        "/why": WhyResource(operation),
        "/healthz": HealthResource(operation),
        "/reload": ReloadResource(operation),
    }


def page_routes(operation: Operation, metrics: Metrics) -> Mapping[str, AdminResource]:
    """Return the resources of the page for browsers, and the metrics."""
    return {
        "/": PageResource(operation, metrics.counter),
        "/overview": OverviewResource(operation, metrics.counter),
        "/metrics": MetricsResource(metrics),
        **{f"/{name}": FileResource(name) for name in FILES},
    }
