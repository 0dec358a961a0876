"""Tests of `devlxd.host.adopted`."""

from __future__ import annotations

import os
import socket
import stat
import tempfile

from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.host.adopted import AdoptedEndpoint, AdoptedPort


class AdoptedTests(SynchronousTestCase):
    """Adopting sockets that systemd has opened."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "sock")
        self.inherited = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.inherited.close)
        self.inherited.bind(self.path)
        os.chmod(self.path, 0o600)
        self.inherited.listen()
        self.factory = Factory()
        self.endpoint = AdoptedEndpoint(self.inherited.fileno())

    def listen(self) -> AdoptedPort:
        """Listen at the endpoint; return the port."""
        port = self.successResultOf(self.endpoint.listen(self.factory))
        assert isinstance(port, AdoptedPort)
        return port

    def test_interfaces(self) -> None:
        """The endpoint and its port provide Twisted's interfaces."""
        verifyObject(IStreamServerEndpoint, self.endpoint)
        port = self.listen()
        verifyObject(IListeningPort, port)
        self.assertEqual(port.getHost().name, self.path.encode())  # type: ignore[attr-defined] # a UNIXAddress
        port.stopListening()

    def test_left_as_it_was(self) -> None:
        """Starting and stopping change neither the path nor systemd's own socket."""
        port = self.listen()
        self.assertEqual(self.factory.numPorts, 1)
        port.stopListening()
        self.assertEqual(self.factory.numPorts, 0)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)
            self.inherited.accept()[0].close()

    def test_again(self) -> None:
        """The endpoint can listen again when its port has stopped."""
        self.listen().stopListening()
        port = self.listen()
        self.addCleanup(port.stopListening)
        self.assertEqual(port.getHost().name, self.path.encode())  # type: ignore[attr-defined] # a UNIXAddress

    def test_accepts(self) -> None:
        """The port's socket is nonblocking, and accepts connections to the path."""
        port = self.listen()
        self.addCleanup(port.stopListening)
        self.assertRaises(BlockingIOError, port.socket.accept)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)
            port.socket.accept()[0].close()
