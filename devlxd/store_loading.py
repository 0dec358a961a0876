# -*- test-case-name: tests.test_store_loading -*-
"""Whether a store of containers is loaded."""

from __future__ import annotations

from devlxd.interfaces import IContainerStore


def is_loaded(store: IContainerStore) -> bool:
    """Return whether a store is loaded now; nothing waits for it afterwards."""
    loaded = store.loaded()
    has_ended = loaded.called
    # A failure is logged by the service that has started the store.
    loaded.addErrback(lambda _: None)
    if not has_ended:
        loaded.cancel()
    return has_ended
