# -*- test-case-name: tests.peers.test_id_maps -*-
"""Maps from the uids of the host to the uids of a container."""

from __future__ import annotations

import json
from collections.abc import Iterable

from attrs import frozen
from zope.interface import implementer

from devlxd.interfaces import IIDMap
from devlxd.model import Container

#: The config keys under which LXD and Incus record the id map of a container: the
#: map that is in use, and the map of its last start. The first key that is set is
#: used.
_IDMAP_KEYS = ("volatile.idmap.current", "volatile.last_state.idmap")

#: The number of ids: all 32-bit numbers but the last, which means "no id".
_ALL = 2**32 - 1


class IDMapError(ValueError):
    """Raised for an id map in an unknown format."""


@implementer(IIDMap)
@frozen
class IDMap:
    """Ranges of ids, as in ``user_namespaces(7)``.

    :ivar ranges: for each range: the first id in the container, the first id on
        the host, and the number of ids.
    """

    ranges: tuple[tuple[int, int, int], ...]

    def inside(self, host_id: int) -> int | None:
        """See `IIDMap.inside`."""
        for first_inside, first_on_host, count in self.ranges:
            if first_on_host <= host_id < first_on_host + count:
                return first_inside + host_id - first_on_host
        return None


#: The map of a privileged container: all ids are the same as on the host.
PRIVILEGED = IDMap(((0, 0, _ALL),))


def parse_uid_map(text: str) -> IDMap:
    """Return the map in ``/proc/PID/uid_map``, from the text of that file.

    :raises IDMapError: if ``text`` has another format.
    """
    try:
        return IDMap(tuple(_parse_range(line.split()) for line in text.splitlines()))
    except ValueError as error:
        raise IDMapError(f"not a uid_map: {error}") from error


def _parse_range(numbers: Iterable[str]) -> tuple[int, int, int]:
    inside, on_host, count = map(int, numbers)
    return inside, on_host, count


def recorded_id_map(container: Container) -> IDMap | None:
    """Return the uid map that LXD or Incus has recorded in the configuration.

    They record an empty list for a privileged container.

    :return: ``None`` if no map is recorded.
    :raises IDMapError: if the recorded map has an unknown format.
    """
    for key in _IDMAP_KEYS:
        if container.config.get(key):
            return _parse_recorded(key, container.config[key])
    return None


def _parse_recorded(key: str, value: str) -> IDMap:
    try:
        entries = json.loads(value)
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
