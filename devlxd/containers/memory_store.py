# -*- test-case-name: tests.containers.test_stores -*-
"""A container store in memory."""

from __future__ import annotations

from collections.abc import Iterable

from devlxd.containers.store_base import ContainerStoreBase
from devlxd.model import Container


class MemoryStore(ContainerStoreBase):
    """A store in memory, which a host agent changes.

    The methods for changes are `put`, `remove` and `replace_all`.

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
