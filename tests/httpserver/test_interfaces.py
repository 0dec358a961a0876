"""Tests that `devlxd.httpserver` provides its interfaces.

What their methods do is tested where the bytes are: in ``test_site.py``, and in
``tests/guestapi/``. Streams have a contract suite, see ``test_paced_body.py``.
"""

from __future__ import annotations

from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass, verifyObject

from devlxd.containers.memory_store import MemoryStore
from devlxd.httpserver.body_sink import BodySink
from devlxd.httpserver.message_sink import BodyMessageSink
from devlxd.httpserver.websocket import WebSocketSink
from devlxd.interfaces import IConnection, IConnections, ISink
from devlxd.testing import RecordingSink, site_for


class InterfaceTests(SynchronousTestCase):
    """The interfaces that only `devlxd.httpserver` provides."""

    def test_connections(self) -> None:
        """The channels of a site are connections, and the site has them."""
        site = site_for(MemoryStore(), "c1")
        channel = site.buildProtocol(UNIXAddress(""))
        self.assertTrue(verifyObject(IConnection, channel))
        self.assertTrue(verifyObject(IConnections, site.server))

    def test_sinks(self) -> None:
        """All sinks, also the one for tests, provide `ISink`."""
        for kind in (BodySink, BodyMessageSink, WebSocketSink, RecordingSink):
            self.assertTrue(verifyClass(ISink, kind))
