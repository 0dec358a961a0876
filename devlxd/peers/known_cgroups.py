# -*- test-case-name: tests.peers.test_known_runs -*-
"""The cgroups of a run whose container is known."""

from __future__ import annotations

from collections.abc import Hashable

from attrs import define, field

#: How many cgroups of a run are known, see `KnownCgroups`.
MAX_KNOWN_CGROUPS = 64


@define
class KnownCgroups:
    """The keys of cgroups of one run: those that were examined most recently.

    See `IProcessTable.cgroup_key`. A guest can create cgroups without limit. Each key
    beyond the limit replaces the oldest one.
    """

    _keys: dict[Hashable, None] = field(factory=dict, init=False)

    def __contains__(self, key: object) -> bool:
        """Return whether cgroups are known, by their key."""
        return key in self._keys

    def __len__(self) -> int:
        """Return how many keys are known."""
        return len(self._keys)

    def add(self, key: Hashable) -> None:
        """Remember the key of cgroups."""
        self._keys[key] = None
        if len(self._keys) > MAX_KNOWN_CGROUPS:
            del self._keys[next(iter(self._keys))]
