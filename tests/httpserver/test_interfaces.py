"""Tests that `devlxd.httpserver` provides its interfaces.

The behaviour of their methods is tested with requests, in ``test_site.py`` and in
``tests/guestapi/``. Streams and sinks have contract suites, see ``test_paced_body.py``
and ``test_sinks.py``.
"""

from __future__ import annotations

from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.containers.memory_store import MemoryStore
from devlxd.interfaces import IConnection, IConnections
from devlxd.testing import site_for


class InterfaceTests(SynchronousTestCase):
    """The interfaces that only `devlxd.httpserver` provides."""

    def test_connections(self) -> None:
        """A channel is an `IConnection`, the server of its site an `IConnections`."""
        site = site_for(MemoryStore(), "c1")
        channel = site.buildProtocol(UNIXAddress(""))
        self.assertTrue(verifyObject(IConnection, channel))
        self.assertTrue(verifyObject(IConnections, site.server))
