"""Tests of `devlxd.listening`."""

from __future__ import annotations

import os
import socket
import tempfile

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorUNIX
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import devlxd.listening
from devlxd.listening import (
    BACKLOG,
    SocketTakeover,
    check_endpoint,
    endpoint_at,
    listen_now,
)


class ListeningTestCase(SynchronousTestCase):
    """Has a directory with short paths in it, and a reactor in memory."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.path = os.path.join(self.directory, "sock")
        self.reactor = MemoryReactor()

    def tearDown(self) -> None:
        for name in os.listdir(self.directory):
            os.unlink(os.path.join(self.directory, name))
        os.rmdir(self.directory)

    def bind(self) -> socket.socket:
        """Leave a socket at the path; listen on it to bring it to life."""
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(self.path)
        return server

    def listen(self, description: str) -> tuple[str, int, int, bool]:
        """Listen; return what the reactor was asked for."""
        listen_now(endpoint_at(self.reactor, description), Factory())
        path, _factory, backlog, mode, want_pid = self.reactor.unixServers[-1]
        return path, backlog, mode, want_pid

    def assert_refused(self, description: str, reason: str) -> None:
        """Check that neither the check nor listening itself would go on."""
        for attempt in (self.listen, check_endpoint):
            error = self.assertRaises(CannotListenError, attempt, description)
            self.assertIn(reason, str(error.socketError))
        self.assertEqual(self.reactor.unixServers, [])


class DescriptionTests(ListeningTestCase):
    """What an operator may write for an endpoint."""

    def test_path(self) -> None:
        """A path is that of the socket, which every guest may connect to."""
        self.assertEqual(self.listen(self.path), (self.path, BACKLOG, 0o666, False))

    def test_directory(self) -> None:
        """A directory means the socket in it, as guests have the directory bound."""
        self.assertEqual(self.listen(self.directory)[0], self.path)

    def test_endpoint_string(self) -> None:
        """A Twisted endpoint string is one; a lock file is never needed."""
        self.assertEqual(
            self.listen(f"unix:{self.path}:mode=600:backlog=9999"),
            (self.path, 9999, 0o600, False),
        )

    def test_other_kind(self) -> None:
        """Other kinds of endpoints are what they are in Twisted."""
        listen_now(endpoint_at(self.reactor, "tcp:0"), Factory())
        self.assertEqual(len(self.reactor.tcpServers), 1)
        check_endpoint("tcp:0")

    def test_nonsense(self) -> None:
        """What is none of these is a `ValueError`."""
        for description in (
            "nope:1",
            "tcp:x",
            "tcp:1:2:3:4:5:6",
            "unix:/a:b=c",
        ):
            self.assertRaises(ValueError, check_endpoint, description)

    def test_check_listens_to_nothing(self) -> None:
        """Checking leaves nothing behind."""
        check_endpoint(self.path)
        self.assertEqual(os.listdir(self.directory), [])


class SocketTakeoverTests(ListeningTestCase):
    """Sockets that lie there already."""

    def test_interface(self) -> None:
        """It takes the place of a reactor."""
        takeover = SocketTakeover(self.reactor)
        self.assertTrue(verifyObject(IReactorUNIX, takeover))
        takeover.connectUNIX(self.path, ClientFactory())
        self.assertEqual(self.reactor.unixClients[0][0], self.path)

    def test_dead(self) -> None:
        """A socket that a dead process left is taken over."""
        self.bind().close()
        self.assertEqual(self.listen(self.path)[0], self.path)
        self.assertFalse(os.path.exists(self.path))

    def test_two_at_once(self) -> None:
        """Of two that take over at once, none removes what the other has bound."""
        self.bind().close()
        check = devlxd.listening._check_dead
        listening: list[socket.socket] = []

        def other_is_faster(path: str) -> None:
            check(path)
            if not listening:
                os.unlink(path)
                listening.append(self.bind())
                listening[0].listen()

        self.patch(devlxd.listening, "_check_dead", other_is_faster)
        self.assert_refused(self.path, "a server is listening there")
        self.assertEqual(os.listdir(self.directory), ["sock"])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)

    def test_live(self) -> None:
        """A live server keeps its socket."""
        self.bind().listen()
        self.assert_refused(self.path, "a server is listening there")
        self.assertTrue(os.path.exists(self.path))

    def test_live_and_busy(self) -> None:
        """So does one that does not get round to accepting."""
        self.bind().listen(0)
        for _ in range(2):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.setblocking(False)
            client.connect_ex(self.path)
        self.assert_refused(self.path, "a server is listening there")

    def test_no_socket(self) -> None:
        """A file that is no socket is left alone."""
        with open(self.path, "w") as file:
            file.write("precious")
        self.assert_refused(self.path, "not a socket")
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")

    def test_no_directory(self) -> None:
        """A directory that is missing is named as such."""
        self.assert_refused(self.path + "/x/sock", "No such file or directory")
        self.bind().close()
        self.assert_refused(self.path + "/sock", "Not a directory")
        self.assert_refused("unix:", "No such file or directory")

    def test_long_path(self) -> None:
        """The kernel's bound on the length of a path is told before it is met."""
        self.assert_refused(f"{self.directory}/{'x' * 107}", "too long")
