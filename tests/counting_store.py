"""A store that counts what is registered with it."""

from __future__ import annotations

from devlxd.containers.memory_store import MemoryStore


class CountingStore(MemoryStore):
    """A store that counts its observers and those that wait until it is loaded."""

    @property
    def waiting(self) -> int:
        """How many there are."""
        return len(self._observers) + len(self._awaiting_load)
