# -*- test-case-name: tests.containers.test_stores -*-
"""A container store in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from attrs import evolve

from devlxd.containers.store_base import ContainerStoreBase
from devlxd.model import Container

_V = TypeVar("_V")


class MemoryStore(ContainerStoreBase):
    """A store in memory, which a host agent changes.

    The methods for changes are `put`, `remove` and `replace_all`, and for parts of a
    container `set_config` and `set_device`.

    :param containers: the initial containers; of two with the same name the
        second replaces the first.
    :param loaded: whether these are all existing containers. If not, the agent
        calls `mark_loaded` when it has added all of them. Until then a container
        that is not in the store may exist nevertheless.
    """

    def __init__(
        self, containers: Iterable[Container] = (), *, loaded: bool = True
    ) -> None:
        super().__init__()
        for container in containers:
            self.put(container)
        if loaded:
            self.mark_loaded()

    def set_config(self, name: str, key: str, value: str | None) -> None:
        """Set one config key of a container.

        Guests receive one event; none if the value is the same as before.

        :param name: the name of the container. It must be in the store: `put` adds one.
        :param value: the new value; ``None`` removes the key.
        :raises KeyError: if there is no such container.
        :raises TypeError: if the key or the value is not text.
        """
        container = self._existing(name)
        self.put(evolve(container, config=_with(container.config, key, value)))

    def set_device(
        self, name: str, device: str, values: Mapping[str, str] | None
    ) -> None:
        """Add, replace or remove one device of a container.

        Guests receive one event; none if the device is the same as before.

        :param name: the name of the container, as for `set_config`.
        :param values: all keys and values of the device; ``None`` removes it.
        :raises KeyError: if there is no such container.
        :raises TypeError: if the name of the device, a key or a value is not text.
        """
        container = self._existing(name)
        self.put(evolve(container, devices=_with(container.devices, device, values)))

    def _existing(self, name: str) -> Container:
        container = self.get(name)
        if container is None:
            raise KeyError(f"there is no container {name!r}")
        return container


def _with(values: Mapping[str, _V], key: str, value: _V | None) -> dict[str, _V]:
    """Return a copy of a mapping with one entry set, or removed by ``None``."""
    changed = dict(values)
    if value is None:
        changed.pop(key, None)
    else:
        changed[key] = value
    return changed
