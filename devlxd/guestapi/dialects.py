# -*- test-case-name: tests.guestapi.test_specification -*-
"""The published generations of the API: data, not code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from attrs import frozen


@frozen
class Dialect:
    """One published generation of the API.

    :ivar name: what the command line calls it.
    :ivar socket: where its documents say that the host listens: a UNIX
        socket, or a directory with the socket ``sock`` in it.
    :ivar containers: the directory that its containers are read from by
        default.
    :ivar switch: the config key that switches the API off for a container.
    :ivar permissions: what the config keys begin with that allow more:
        ``PERMISSIONS.uids`` and ``PERMISSIONS.images``.
    :ivar exported: the namespaces of config keys that a guest may read.
    :ivar devices: whether it tells of devices.
    :ivar events: whether it tells of changes as they happen.
    :ivar images: where the images are that it lets guests download by
        default; ``None`` where it has none.
    :ivar not_authorized: how a refusal reads (403).
    :ivar not_found: how a miss reads (404).
    :ivar meta_data_head: what meta-data starts with.
    """

    name: str
    socket: Path
    containers: Path
    switch: str
    permissions: str
    exported: tuple[str, ...]
    devices: bool
    events: bool
    images: Path | None
    not_authorized: str
    not_found: str
    meta_data_head: str

    def exports(self, key: str) -> bool:
        """Tell whether a guest may read the config key ``key``."""
        return key.startswith(self.exported)


LXD = Dialect(
    name="lxd",
    socket=Path("/var/lib/lxd/devlxd"),
    containers=Path("/var/lib/lxd/containers"),
    switch="security.devlxd",
    permissions="security.devlxd",
    exported=("user.",),
    devices=True,
    events=True,
    images=Path("/var/lib/lxd/images"),
    not_authorized="not authorized",
    not_found="not found",
    meta_data_head="#cloud-config\n",
)

APOLLO = Dialect(
    name="apollo",
    socket=Path("/var/lib/apollo/devapollo"),
    containers=Path("/var/lib/apollo/containers"),
    switch="security.devapollo",
    permissions="security.devapollo",
    exported=("user.",),
    devices=False,
    events=False,
    images=None,
    not_authorized="not authorized",
    not_found="not found",
    meta_data_head="#cloud-config\n",
)

#: Every dialect by its name; the first one is the default.
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (LXD, APOLLO)}
)
