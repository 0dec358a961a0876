"""Tests of `devlxd.admin.listener`."""

from __future__ import annotations

import os
import socket
import tempfile

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from devlxd.admin.listener import AdminListener
from devlxd.admin.site import AdminSite
from devlxd.host.adopted import AdoptedEndpoint
from devlxd.testing import MemoryDevLXDReactor
from tests.admin.operators import OperatorConnection


@implementer(IStreamServerEndpoint)
class FakeEndpoint:
    """An endpoint that returns a Deferred."""

    def __init__(self, listening: Deferred[IListeningPort]) -> None:
        self.listening = listening
        self.listened = 0

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint.listen`."""
        self.listened += 1
        return self.listening


@implementer(IListeningPort)
class FakePort:
    """A port that is stopped when `stopped` fires."""

    def __init__(self) -> None:
        self.stopped: Deferred[None] = Deferred()
        self.stops = 0

    def getHost(self) -> IAddress:
        """See `IListeningPort.getHost`."""
        return UNIXAddress("/here")

    def startListening(self) -> None:
        """See `IListeningPort.startListening`."""

    def stopListening(self) -> Deferred[None]:
        """See `IListeningPort.stopListening`."""
        self.stops += 1
        return self.stopped


class AdminListenerTests(SynchronousTestCase):
    """`AdminListener`."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.site = AdminSite({}, self.reactor)

    def listener(self, endpoint: IStreamServerEndpoint) -> AdminListener:
        """Return a listener that is not started."""
        return AdminListener(endpoint, self.site, self.reactor)

    def test_listen(self) -> None:
        """It listens once, before privileges are dropped, and logs the address."""
        endpoint = FakeEndpoint(succeed(FakePort()))
        listener = self.listener(endpoint)
        with capturedLogs() as events:
            listener.privilegedStartService()
        listener.startService()
        self.assertEqual(endpoint.listened, 1)
        self.assertEqual(
            [formatEvent(e) for e in events], ["operators are served at /here"]
        )

    def test_stop(self) -> None:
        """It stops when the port has stopped, and the connections are closed."""
        port = FakePort()
        listener = self.listener(FakeEndpoint(succeed(port)))
        listener.startService()
        connection = OperatorConnection(self.site)
        stopped = listener.stopService()
        self.assertTrue(connection.transport.connected)
        port.stopped.callback(None)
        self.assertFalse(connection.transport.connected)
        self.successResultOf(stopped)

    def test_fails(self) -> None:
        """If listening fails at once, devlxd does not start."""
        listener = self.listener(
            FakeEndpoint(fail(CannotListenError("", "/s", OSError())))
        )
        self.assertRaises(CannotListenError, listener.privilegedStartService)

    def test_fails_later(self) -> None:
        """If it fails later, this is logged, and guests are served."""
        listening: Deferred[IListeningPort] = Deferred()
        listener = self.listener(FakeEndpoint(listening))
        listener.startService()
        listening.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.successResultOf(listener.stopService())

    def test_stop_before(self) -> None:
        """A port that does not listen yet is stopped as soon as it does."""
        listening: Deferred[IListeningPort] = Deferred()
        port = FakePort()
        listener = self.listener(FakeEndpoint(listening))
        self.successResultOf(listener.stopService())
        listener.startService()
        stopped = listener.stopService()
        self.assertNoResult(stopped)
        listening.callback(port)
        port.stopped.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(port.stops, 1)

    def test_adopted(self) -> None:
        """Connections on a socket that systemd has opened are accepted."""
        directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, directory)
        path = f"{directory}/sock"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            self.addCleanup(os.unlink, path)
            listening.listen()
            listener = self.listener(AdoptedEndpoint(listening.fileno()))
            listener.startService()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                (reader,) = self.reactor.getReaders()
                reader.doRead()
                ((_, family, factory),) = self.reactor.adoptedStreamConnections
                self.assertEqual((family, factory), (socket.AF_UNIX, self.site))
                self.successResultOf(listener.stopService())
                self.assertEqual(self.reactor.getReaders(), [])
        self.assertTrue(os.path.exists(path))
