# -*- test-case-name: tests.test_testing -*-
"""Fakes for tests of programs that embed devlxd, and for its own.

This package contains:

* ``Memory...``: providers of the interfaces of `devlxd.interfaces` in memory, and a
  reactor. Each passes the suite of its interface in `devlxd.testing.contracts`.
* ``Recording...``: observers, and other receivers of calls, that record them.
* The guest's end of a connection, and what it connects to.

Other stand-ins need no fake: `devlxd.MemoryStore`, the `MemoryImageStore` of
`devlxd.images.memory_image_store`, and `devlxd.SQLiteJournal` without a path are in
memory. This package needs no dependencies but those of devlxd.

A test of an agent needs neither sockets nor root, and never waits for real time:

.. code-block:: python

    from twisted.trial.unittest import SynchronousTestCase

    from devlxd import Container, MemoryStore
    from devlxd.testing import GuestConnection, bus_for, site_for


    class GreetingTests(SynchronousTestCase):
        def test_change(self) -> None:
            store = MemoryStore([Container("c1", {"user.greeting": "hello"})])
            site = site_for(store, "c1", bus=bus_for(store))
            response = GuestConnection(site).get("/1.0/config/user.greeting")
            self.assertTrue(response.endswith(b"hello"))
            subscriber = GuestConnection(site)
            subscriber.get("/1.0/events")
            store.put(Container("c1", {"user.greeting": "goodbye"}))
            self.assertIn(b'"value":"goodbye"', subscriber.receive())
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
    bus_for,
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
    "bus_for",
    "site_for",
]
