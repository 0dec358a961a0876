# -*- test-case-name: tests -*-
"""Verified fakes, for the tests of devlxd and of programs that use it.

The contract suites are in `devlxd.testing.contracts`.
"""

from devlxd.testing.callers import (
    GUEST,
    MemoryIdentifier,
    MemoryMonitoredRuntime,
    MemoryPeerSource,
    MemoryProcess,
    MemoryProcessTable,
    MemoryRuntime,
    RecordingRunObserver,
)
from devlxd.testing.guests import (
    GuestConnection,
    site_for,
)
from devlxd.testing.reactor import (
    MemoryDevLXDReactor,
    MemoryThreadPool,
)
from devlxd.testing.service_observers import (
    RecordingServiceObserver,
)
from devlxd.testing.sinks import (
    RecordingSink,
)
from devlxd.testing.store_observers import (
    RecordingStoreObserver,
)
from devlxd.testing.subscribers import (
    RecordingSubscriber,
)
from devlxd.testing.watcher import (
    MemoryWatcher,
    RecordingWatchListener,
)

__all__ = [
    "GUEST",
    "GuestConnection",
    "MemoryDevLXDReactor",
    "MemoryIdentifier",
    "MemoryMonitoredRuntime",
    "MemoryPeerSource",
    "MemoryProcess",
    "MemoryProcessTable",
    "MemoryRuntime",
    "MemoryThreadPool",
    "MemoryWatcher",
    "RecordingRunObserver",
    "RecordingServiceObserver",
    "RecordingSink",
    "RecordingStoreObserver",
    "RecordingSubscriber",
    "RecordingWatchListener",
    "site_for",
]
