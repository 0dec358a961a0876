"""Tests of `devlxd.host.listening`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile

from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorUNIX
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import devlxd.host.listening
from devlxd.host.listening import (
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
        self.addCleanup(shutil.rmtree, self.directory)

    def bind(self) -> socket.socket:
        """Leave a socket at the path; listen on it to bring it back."""
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
        for name in ("", "/"):
            self.assertEqual(self.listen(self.directory + name)[0], self.path)

    def test_missing_directory(self) -> None:
        """It is made when it is missing, for every guest to look into."""
        self.addCleanup(os.umask, os.umask(0o077))
        directory = f"{self.directory}/run/devlxd"
        for try_out in (check_endpoint, self.listen):
            try_out(directory)
            for made in (directory, os.path.dirname(directory)):
                self.assertEqual(os.stat(made).st_mode & 0o7777, 0o755)
                self.assertTrue(os.path.isdir(made))
            shutil.rmtree(f"{self.directory}/run")
        self.assertEqual(self.reactor.unixServers[-1][0], f"{directory}/sock")

    def test_socket_by_its_name(self) -> None:
        """What is named as a socket is one; nothing is made for it."""
        for name in ("sock", "x.sock"):
            self.assert_refused(f"{self.directory}/nope/{name}", "No such file")
        for name in ("sock", "x.sock"):
            path = f"{self.directory}/{name}"
            self.assertEqual(self.listen(path)[0], path)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        self.assertEqual(self.listen("sock")[0], "sock")
        self.assertEqual(os.listdir(self.directory), [])

    def test_not_a_directory(self) -> None:
        """What is no directory is left alone, also a socket of an older devlxd."""
        path = f"{self.directory}/devlxd"
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(path)
        self.assert_refused(
            path, f"not a directory; for a socket of that name write unix:{path}"
        )
        self.assert_refused(f"{path}/x", "Not a directory")
        self.assertTrue(os.path.exists(path))
        self.assertEqual(self.listen(f"unix:{path}")[0], path)

    def test_endpoint_string(self) -> None:
        """A Twisted endpoint string is one; a lock file is never needed."""
        self.assertEqual(
            self.listen(f"unix:{self.path}:mode=600:backlog=9999"),
            (self.path, 9999, 0o600, False),
        )

    def test_other_kind(self) -> None:
        """Other kinds of endpoints are what they are in Twisted, to who asks."""
        listen_now(endpoint_at(self.reactor, "tcp:0"), Factory())
        self.assertEqual(len(self.reactor.tcpServers), 1)

    def assert_no_endpoint(self, description: str, reason: str, **how: bool) -> None:
        """Check that nobody can be served at an endpoint."""
        error = self.assertRaises(ValueError, check_endpoint, description, **how)
        self.assertEqual(str(error), reason)

    def test_anonymous(self) -> None:
        """Where the kernel does not tell who calls, nobody is served."""
        for description in (
            "tcp:0",
            "tcp:0:interface=127.0.0.1",
            "tcp6:0",
            "ssl:443",
            "haproxy:tcp:80",
        ):
            self.assert_no_endpoint(
                description, "guests are known by UNIX sockets only"
            )

    def test_loopback(self) -> None:
        """If that does not matter, a port is possible that nobody else can reach."""
        for interface in ("127.0.0.1", "127.1.2.3", "\\:\\:1"):
            description = f"tcp:0:interface={interface}"
            self.assertEqual(check_endpoint(description, False), description)
        for more in ("", ":interface=0.0.0.0", ":interface=192.0.2.1", ":interface=x"):
            self.assert_no_endpoint(
                f"tcp:0{more}",
                "anybody could ask; write interface=127.0.0.1",
                identified=False,
            )
        self.assert_no_endpoint(
            "tcp6:0", "guests are known by UNIX sockets only", identified=False
        )

    def test_systemd(self) -> None:
        """A socket may come from systemd."""
        self.assert_no_endpoint(
            "systemd:domain=UNIX:name=x", "systemd has passed no such socket"
        )
        for description in ("systemd:domain=UNIX", "systemd:domain=X:index=0"):
            self.assertRaises(ValueError, check_endpoint, description)
        passed = AdoptedStreamServerEndpoint(self.reactor, 3, socket.AF_UNIX)
        self.patch(devlxd.host.listening, "serverFromString", lambda *_: passed)
        check_endpoint("systemd:domain=UNIX:name=x")
        self.assert_no_endpoint(
            "systemd:domain=INET:name=x", "guests are known by UNIX sockets only"
        )

    def test_nonsense(self) -> None:
        """What is none of these is told in words that are not Python's."""
        unix = "not unix:PATH[:mode=MODE][:backlog=NUMBER]"
        for description, reason in (
            ("", "nothing is given"),
            ("nope:1", "there is no endpoint nope:"),
            ("tcp:x", "not tcp:PORT:interface=ADDRESS"),
            ("tcp:1:2:3:4:5:6", "not tcp:PORT:interface=ADDRESS"),
            ("unix:/a:b=c", unix),
            ("unix:/a:mode=rw", unix),
        ):
            self.assert_no_endpoint(description, reason, identified=False)

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
        check = devlxd.host.listening._check_dead
        listening: list[socket.socket] = []

        def other_is_faster(path: str) -> None:
            check(path)
            if not listening:
                os.unlink(path)
                listening.append(self.bind())
                listening[0].listen()

        self.patch(devlxd.host.listening, "_check_dead", other_is_faster)
        self.assert_refused(self.path, "serves")
        self.assertEqual(os.listdir(self.directory), ["sock"])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)

    def test_live(self) -> None:
        """A live server keeps its socket, and who it is is told."""
        self.bind().listen()
        self.assert_refused(self.path, f"(pid {os.getpid()}) serves {self.path}")
        self.assertTrue(os.path.exists(self.path))

    def test_servers(self) -> None:
        """Of a live server is told whether it is a devlxd."""
        program = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); "
            "s.bind(sys.argv[1]); s.listen(); print(flush=True); input()"
        )
        for name, kind in (("devlxd", "devlxd"), ("lxd", "server")):
            path = f"{self.directory}/{name}.sock"
            with subprocess.Popen(
                [sys.executable, "-c", program, path, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as server:
                assert server.stdout is not None
                server.stdout.readline()
                self.assert_refused(path, f"another {kind} (pid {server.pid}) serves")
                server.communicate(b"\n")

    def test_live_and_busy(self) -> None:
        """So does one that does not get round to accepting."""
        self.bind().listen(0)
        for _ in range(2):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.setblocking(False)
            client.connect_ex(self.path)
        self.assert_refused(self.path, f"another server serves {self.path}")

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
