# -*- test-case-name: tests.guestapi.test_incus -*-
"""``incus``: the API of Incus, at ``/dev/incus/sock``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from devlxd.guestapi.config_resources import ConfigListResource, ConfigValueResource
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.event_rendering import json_line
from devlxd.guestapi.event_streams import events
from devlxd.guestapi.guest_state_resource import guest_state
from devlxd.guestapi.image_export import export
from devlxd.guestapi.meta_data import merged_meta_data
from devlxd.guestapi.resource_bases import constant
from devlxd.guestapi.resources import DevicesResource, MetaDataResource

DIALECT = Dialect(
    name="incus",
    rank=4,
    socket=Path("/var/lib/devlxd/incus"),
    containers=Path("/var/lib/incus/containers"),
    images=Path("/var/lib/incus/images"),
    switch="security.guestapi",
    permissions="security.guestapi",
    exported=("user.", "cloud-init."),
    routes={
        "/": constant(["/1.0"]),
        "/1.0": guest_state({"api_version": "1.0", "instance_type": "container"}),
        "/1.0/config": ConfigListResource,
        "/1.0/config/{key}": ConfigValueResource,
        "/1.0/devices": DevicesResource,
        "/1.0/events": events,
        "/1.0/images/{fingerprint}/export": export,
        "/1.0/meta-data": MetaDataResource,
    },
    meta_data=partial(merged_meta_data, "#cloud-config\n"),
    event_types=frozenset(("config", "device")),
    render_event=json_line,
    guest_states=True,
    not_authorized="not authorized",
    not_root="Access denied for non-root user",
    not_found="not found",
)
