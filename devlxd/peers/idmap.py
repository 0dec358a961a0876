# -*- test-case-name: tests.peers.test_idmap -*-
"""Which user of the host is a container's root."""

from __future__ import annotations

import json

from devlxd.model import Container

#: Where LXD and Incus keep the id map of a running container, the first
#: that is there counts (protocol.md 6.3).
_IDMAP_KEYS = ("volatile.idmap.current", "volatile.last_state.idmap")


class IDMapError(ValueError):
    """An id map that cannot be read, or that maps no root."""


def host_uid_of_root(container: Container) -> int:
    """Return the uid on the host of uid 0 in ``container``.

    A container without an id map is privileged: its root is the host's.

    :raises IDMapError: when its id map cannot be read.
    """
    for key in _IDMAP_KEYS:
        if container.config.get(key):
            return _shifted_root(key, container.config[key])
    return 0


def _shifted_root(key: str, idmap: str) -> int:
    try:
        entries = json.loads(idmap)
        if not isinstance(entries, list):
            raise TypeError("not a list")
        for entry in entries:
            if entry["Isuid"] is True and entry["Nsid"] == 0 and entry["Maprange"] > 0:
                return int(entry["Hostid"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IDMapError(f"{key} is not an id map: {error}") from error
    if entries:
        raise IDMapError(f"{key} maps no root")
    return 0
