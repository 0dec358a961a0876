# -*- test-case-name: tests.guestapi.test_lxd6 -*-
"""``lxd6``: the API of LXD 6, at ``/dev/lxd/sock``."""

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

#: The fields of ``/1.0`` that are the same for every container. devlxd has neither
#: bearer tokens nor storage pools.
_FACTS = {
    "api_version": "1.0",
    "auth": "untrusted",
    "instance_type": "container",
    "supported_storage_drivers": [],
}

DIALECT = Dialect(
    name="lxd6",
    rank=3,
    socket=Path("/var/lib/devlxd/lxd6"),
    containers=Path("/var/lib/lxd/containers"),
    images=Path("/var/lib/lxd/images"),
    switch="security.devlxd",
    permissions="security.devlxd",
    exported=("user.", "cloud-init."),
    adds_ssh_keys=True,
    similar_keys=("security.devlxd.management.volumes",),
    routes={
        "/": constant(["/1.0"]),
        "/1.0": guest_state(_FACTS),
        "/1.0/config": ConfigListResource,
        "/1.0/config/{key}": ConfigValueResource,
        "/1.0/devices": DevicesResource,
        "/1.0/events": events,
        "/1.0/images/{fingerprint}/export": export,
        "/1.0/meta-data": MetaDataResource,
    },
    meta_data=partial(merged_meta_data, ""),
    event_types=frozenset(("config", "device")),
    render_event=json_line,
    guest_states=True,
    not_authorized="Forbidden",
    not_root="Access denied for non-root user",
    not_found="Not Found",
)
