# -*- test-case-name: tests.test_testing -*-
"""Fakes for the tests of devlxd, of programs that embed it, and of guests.

This package contains:

* ``FakeDevLXD``, with guests, for the tests of programs in guests; ``DevLXDMixin`` for
  trial and ``devlxd.testing.pytest_plugin`` for pytest provide one to each test.
* ``FakeGuest``, for the tests of agents that embed devlxd.
* ``Memory...``: providers of interfaces of `devlxd.interfaces` in memory, and their
  parts. Each provider passes the suites of its interface in
  `devlxd.testing.contracts`, if there are any.
* ``Recording...``: observers, and other objects that devlxd calls; they record the
  calls.
* ``GuestConnection``: the guest's end of a connection. ``site_for`` makes the site
  that it connects to, and ``bus_for`` the event bus of that site.

These classes of devlxd need no fakes, as they work in memory: `devlxd.MemoryStore`,
the `MemoryImageStore` of `devlxd.images.memory_image_store`, and
`devlxd.SQLiteJournal` without a path. This package has no dependencies other than
those of devlxd.

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
    MemoryRuntime,
    RecordingRunObserver,
)
from devlxd.testing.etcd_history import EtcdHistory, EtcdSnapshot
from devlxd.testing.fake_devlxd import FakeDevLXD
from devlxd.testing.fake_guest import FakeGuest
from devlxd.testing.guests import (
    GuestConnection,
    bus_for,
    site_for,
)
from devlxd.testing.memory_endpoint import MemoryEndpoint
from devlxd.testing.memory_etcd import MemoryEtcd, MemoryEtcdGateway
from devlxd.testing.notifiers import (
    MemoryHandoverStore,
    RecordingNotifier,
)
from devlxd.testing.processes import MemoryProcess, MemoryProcessTable
from devlxd.testing.reactor import (
    MemoryDevLXDReactor,
    MemoryThreadPool,
)
from devlxd.testing.ready_observers import (
    RecordingReadyObserver,
)
from devlxd.testing.service_observers import (
    RecordingServiceObserver,
)
from devlxd.testing.simulation.failures import NoAnswer
from devlxd.testing.sinks import (
    RecordingSink,
)
from devlxd.testing.store_observers import (
    RecordingStoreObserver,
)
from devlxd.testing.subscribers import (
    RecordingSubscriber,
)
from devlxd.testing.trial_mixin import DevLXDMixin
from devlxd.testing.watch_receivers import RecordingWatchReceiver
from devlxd.testing.watcher import (
    MemoryWatcher,
    RecordingWatchListener,
)

__all__ = [
    "GUEST",
    "DevLXDMixin",
    "EtcdHistory",
    "EtcdSnapshot",
    "FakeDevLXD",
    "FakeGuest",
    "GuestConnection",
    "MemoryDevLXDReactor",
    "MemoryEndpoint",
    "MemoryEtcd",
    "MemoryEtcdGateway",
    "MemoryHandoverStore",
    "MemoryIdentifier",
    "MemoryMonitoredRuntime",
    "MemoryPeerSource",
    "MemoryProcess",
    "MemoryProcessTable",
    "MemoryRuntime",
    "MemoryThreadPool",
    "MemoryWatcher",
    "NoAnswer",
    "RecordingNotifier",
    "RecordingReadyObserver",
    "RecordingRunObserver",
    "RecordingServiceObserver",
    "RecordingSink",
    "RecordingStoreObserver",
    "RecordingSubscriber",
    "RecordingWatchListener",
    "RecordingWatchReceiver",
    "bus_for",
    "site_for",
]
