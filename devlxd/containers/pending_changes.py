# -*- test-case-name: tests.containers.test_etcd_store -*-
"""The changes of containers that are not processed yet, each in its turn."""

from __future__ import annotations

from collections import Counter, deque

from attrs import field, frozen

from devlxd.etcd.changes import Change

#: The size of pending changes, in bytes, at which no more are accepted, and the one at
#: which they are accepted again.
MAX_PENDING = 16 * 1024 * 1024
_FEW_PENDING = MAX_PENDING // 2

#: What a change needs besides its value, in bytes.
_OVERHEAD = 512


@frozen
class Pending:
    """A change that waits.

    :ivar change: the change.
    :ivar fallback: the value to use if the new one cannot be used and there is no
        snapshot; ``None`` for none.
    """

    change: Change
    fallback: bytes | None = field(default=None, repr=False)

    @property
    def is_removal(self) -> bool:
        """Whether the container is removed, even if it is created again then."""
        return self.change.kv is None or self.change.is_new

    @property
    def length(self) -> int:
        """The length of the document, in bytes."""
        kv = self.change.kv
        return 0 if kv is None or kv.value is None else len(kv.value)


class PendingChanges:
    """Queues of changes by the names of containers.

    :ivar size: the size of all, in bytes.
    """

    def __init__(self) -> None:
        self._queues: dict[str, deque[Pending]] = {}
        # How many of the changes of a container are removals.
        self._removals = Counter[str]()
        self.size = 0

    def __contains__(self, name: str) -> bool:
        """Return whether a container has a change that waits."""
        return name in self._queues

    @property
    def are_many(self) -> bool:
        """Whether no more should be accepted."""
        return self.size >= MAX_PENDING

    @property
    def are_few(self) -> bool:
        """Whether more can be accepted again."""
        return self.size <= _FEW_PENDING

    def add(self, name: str, pending: Pending) -> None:
        """Add the last change of a container."""
        self._queues.setdefault(name, deque()).append(pending)
        self._removals[name] += pending.is_removal
        self.size += pending.length + _OVERHEAD

    def will_remove(self, name: str) -> bool:
        """Return whether a change that waits removes a container."""
        return name in self._queues and self._removals[name] > 0

    def first_length(self, name: str) -> int:
        """Return the length of the document in the first change of a container."""
        return self._queues[name][0].length

    def take(self, name: str) -> Pending:
        """Remove and return the first change of a container."""
        queue = self._queues[name]
        pending = queue.popleft()
        self._removals[name] -= pending.is_removal
        if not queue:
            del self._queues[name], self._removals[name]
        self.size -= pending.length + _OVERHEAD
        return pending
