# -*- test-case-name: tests.guestapi.test_specification -*-
"""``lxd``: the API as LXD published it, at ``/dev/lxd/sock``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from devlxd.guestapi.config_resources import ConfigListResource, ConfigValueResource
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.event_rendering import json_line
from devlxd.guestapi.event_streams import events
from devlxd.guestapi.image_export import export
from devlxd.guestapi.meta_data import nocloud_meta_data
from devlxd.guestapi.resource_bases import constant
from devlxd.guestapi.resources import (
    DeviceResource,
    MetaDataResource,
    device_list,
)


def _is_ipvlan(device: Mapping[str, str]) -> bool:
    return device.get("nictype") == "ipvlan"


DIALECT = Dialect(
    name="lxd",
    rank=1,
    socket=Path("/var/lib/lxd/devlxd"),
    containers=Path("/var/lib/lxd/containers"),
    images=Path("/var/lib/lxd/images"),
    switch="security.devlxd",
    permissions="security.devlxd",
    exported=("user.",),
    similar_keys=("security.devlxd.management.volumes",),
    routes={
        "/": constant(["/1.0"]),
        "/1.0": constant({"api_version": "1.0"}),
        "/1.0/config": ConfigListResource,
        "/1.0/config/{key}": ConfigValueResource,
        "/1.0/devices": device_list("/1.0/device/"),
        "/1.0/device/{name}": DeviceResource,
        "/1.0/events": events,
        "/1.0/images/{fingerprint}/export": export,
        "/1.0/meta-data": MetaDataResource,
    },
    shows_device=_is_ipvlan,
    meta_data=partial(nocloud_meta_data, "#cloud-config\n"),
    event_types=frozenset(("config", "device")),
    render_event=json_line,
    not_authorized="not authorized",
    not_root="Access denied for non-root user",
    not_found="not found",
)
