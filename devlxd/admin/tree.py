# -*- test-case-name: tests.admin.test_tree -*-
"""The paths of the operator's socket."""

from __future__ import annotations

from collections.abc import Mapping

from devlxd.admin.actions import ReloadResource, WhyResource
from devlxd.admin.containers import ContainerResource, ContainersResource
from devlxd.admin.operation import Operation
from devlxd.admin.resource import AdminResource
from devlxd.admin.status import HealthResource, StatusResource


def admin_routes(operation: Operation) -> Mapping[str, AdminResource]:
    """Return the resource of each path; see `AdminSite`."""
    return {
        "/status": StatusResource(operation),
        "/containers": ContainersResource(operation),
        "/containers/*": ContainerResource(operation),
        "/why": WhyResource(operation),
        "/healthz": HealthResource(operation),
        "/reload": ReloadResource(operation),
    }
