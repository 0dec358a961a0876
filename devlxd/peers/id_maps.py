# -*- test-case-name: tests.peers.test_id_maps -*-
"""Which users of the host are which users of a container."""

from __future__ import annotations

import json
from collections.abc import Iterable

from attrs import frozen
from zope.interface import implementer

from devlxd.interfaces import IIDMap
from devlxd.model import Container

#: Where LXD and Incus keep the id map of a running container; the first one
#: that is there counts.
_IDMAP_KEYS = ("volatile.idmap.current", "volatile.last_state.idmap")

#: How many ids there are.
_ALL = 2**32 - 1


class IDMapError(ValueError):
    """An id map that cannot be read."""


@implementer(IIDMap)
@frozen
class IDMap:
    """Ranges of ids, each as ``user_namespaces(7)`` has it.

    :ivar ranges: the first id inside, the first on the host, and how many.
    """

    ranges: tuple[tuple[int, int, int], ...]

    def inside(self, host_id: int) -> int | None:
        """See `IIDMap.inside`."""
        for first_inside, first_on_host, count in self.ranges:
            if first_on_host <= host_id < first_on_host + count:
                return first_inside + host_id - first_on_host
        return None


#: The ids of a privileged container: those that this process sees.
PRIVILEGED = IDMap(((0, 0, _ALL),))


def parse_uid_map(text: str) -> IDMap:
    """Read ``/proc/PID/uid_map``.

    :raises IDMapError: when it is something else.
    """
    try:
        return IDMap(tuple(_range(line.split()) for line in text.splitlines()))
    except ValueError as error:
        raise IDMapError(f"not a uid_map: {error}") from error


def _range(numbers: Iterable[str]) -> tuple[int, int, int]:
    inside, on_host, count = map(int, numbers)
    return inside, on_host, count


def recorded_id_map(container: Container) -> IDMap | None:
    """Return the id map that the runtime has written down for ``container``.

    An empty list says that it is privileged.

    :return: ``None`` where nothing is written down.
    :raises IDMapError: when what is written down cannot be read.
    """
    for key in _IDMAP_KEYS:
        if container.config.get(key):
            return _recorded(key, container.config[key])
    return None


def _recorded(key: str, idmap: str) -> IDMap:
    try:
        entries = json.loads(idmap)
        if not isinstance(entries, list):
            raise TypeError("not a list")
        ranges = [
            (int(entry["Nsid"]), int(entry["Hostid"]), int(entry["Maprange"]))
            for entry in entries
            if entry["Isuid"] is True
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IDMapError(f"{key} is not an id map: {error}") from error
    return IDMap(tuple(ranges)) if entries else PRIVILEGED
