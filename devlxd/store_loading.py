# -*- test-case-name: tests.test_store_loading -*-
"""Whether a store of containers is loaded."""

from __future__ import annotations

from devlxd.interfaces import IContainerStore


def is_loaded(store: IContainerStore) -> bool:
    """Return whether a store is loaded now; nothing waits for it afterwards."""
    loaded = store.loaded()
    if loaded.called:
        return True
    loaded.addErrback(lambda _: None).cancel()
    return False
