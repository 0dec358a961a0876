# -*- test-case-name: tests.containers.test_stores -*-
"""A container store in memory."""

from __future__ import annotations

from collections.abc import Iterable

from devlxd.containers.store_base import ContainerStoreBase
from devlxd.model import Container


class MemoryStore(ContainerStoreBase):
    """A store that an agent fills: it holds what was put into it.

    `put`, `remove` and `replace_all` change it.

    :param containers: the first containers; of two with the same name the
        second replaces the first.
    :param loaded: whether these are all containers there are. If not, the agent
        calls `mark_loaded` when it has put in all of them; until then a caller that
        is not found in the store may still turn out to be a container.
    """

    def __init__(
        self, containers: Iterable[Container] = (), *, loaded: bool = True
    ) -> None:
        super().__init__()
        for container in containers:
            self.put(container)
        if loaded:
            self.mark_loaded()
