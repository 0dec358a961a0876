# -*- test-case-name: tests.containers.test_directory_large -*-
"""Comparing large snapshots in slices."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from devlxd.model import Container
from devlxd.turns import Slices

#: How many keys are compared in one slice.
_KEYS_PER_SLICE = 1000


def are_equal(one: Container, other: Container) -> Slices[bool]:
    """Compare two snapshots in slices, and return whether they are equal."""
    parts: tuple[tuple[Mapping[str, object], Mapping[str, object]], ...]
    parts = (one.config, other.config), (one.devices, other.devices)
    for part, other_part in parts:
        if len(part) != len(other_part):
            return False
        for number, (key, value) in enumerate(part.items(), 1):
            if other_part.get(key) != value:
                return False
            if number % _KEYS_PER_SLICE == 0:
                yield
    return _without_mappings(one) == _without_mappings(other)


def _without_mappings(container: Container) -> Container:
    return evolve(container, config={}, devices={})
