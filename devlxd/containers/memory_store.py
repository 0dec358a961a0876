# -*- test-case-name: tests.containers.test_stores -*-
"""A container store in memory."""

from __future__ import annotations

from collections.abc import Iterable

from devlxd.containers.store_base import ContainerStoreBase
from devlxd.model import Container


class MemoryStore(ContainerStoreBase):
    """A store in memory, which an agent changes.

    The methods for changes are `put`, `remove` and `replace_all`.

    :param containers: the initial containers; of two with the same name the
        second replaces the first.
    :param loaded: whether these are all existing containers. If not, the agent
        calls `mark_loaded` when it has added all of them: until then a caller that
        the store does not know may still be in a container.
    """

    def __init__(
        self, containers: Iterable[Container] = (), *, loaded: bool = True
    ) -> None:
        super().__init__()
        for container in containers:
            self.put(container)
        if loaded:
            self.mark_loaded()
