"""Tests of `devlxd.store_loading`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.store_loading import is_loaded


class LoadingTests(SynchronousTestCase):
    """`is_loaded`."""

    def test_loaded(self) -> None:
        """A store is loaded from the moment on that it says so."""
        store = MemoryStore(loaded=False)
        self.assertFalse(is_loaded(store))
        store.mark_loaded()
        self.assertTrue(is_loaded(store))
