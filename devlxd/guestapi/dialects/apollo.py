# -*- test-case-name: tests.guestapi.test_specification -*-
"""``apollo``: the version of the API at ``/dev/apollo/sock``.

It has config and meta-data, but no devices, events or images.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from devlxd.guestapi.config_resources import ConfigListResource, ConfigValueResource
from devlxd.guestapi.dialect import Dialect
from devlxd.guestapi.meta_data import nocloud_meta_data
from devlxd.guestapi.resource_bases import constant
from devlxd.guestapi.resources import MetaDataResource

DIALECT = Dialect(
    name="apollo",
    rank=2,
    socket=Path("/var/lib/apollo/devapollo"),
    containers=Path("/var/lib/apollo/containers"),
    images=None,
    switch="security.devapollo",
    permissions="security.devapollo",
    exported=("user.",),
    routes={
        "/": constant(["/1.0"]),
        "/1.0": constant({"api_version": "1.0"}),
        "/1.0/config": ConfigListResource,
        "/1.0/config/{key}": ConfigValueResource,
        "/1.0/meta-data": MetaDataResource,
    },
    meta_data=partial(nocloud_meta_data, "#cloud-config\n"),
    not_authorized="not authorized",
    not_root="Access denied for non-root user",
    not_found="not found",
)
