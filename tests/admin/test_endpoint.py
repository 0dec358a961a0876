"""Tests of `devlxd.admin.endpoint`."""

from __future__ import annotations

import os
import socket
import stat
import tempfile

from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

import devlxd.host.listening
from devlxd.admin.endpoint import AdminEndpoint
from devlxd.host.adopted import AdoptedEndpoint
from devlxd.testing import MemoryDevLXDReactor


class EndpointTests(SynchronousTestCase):
    """`AdminEndpoint`."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)
        self.path = f"{self.directory}/x.sock"
        self.reactor = MemoryDevLXDReactor()

    def listen(self, value: str) -> None:
        """Listen on an endpoint of the reactor in memory."""
        at = AdminEndpoint.parse(value)
        self.successResultOf(at.endpoint(self.reactor).listen(Factory()))

    def listen_unix(self, value: str) -> tuple[str, int]:
        """Listen on a UNIX socket, and return its path and its mode."""
        self.listen(value)
        path, _, _, mode, _ = self.reactor.unixServers.pop()
        return path, mode

    def assert_refused(self, value: str, text: str) -> None:
        """Check that a value is refused."""
        with self.assertRaises(ValueError) as caught:
            AdminEndpoint.parse(value).check()
        self.assertIn(text, str(caught.exception))

    def test_paths(self) -> None:
        """A path is that of a socket, or of the directory of ``sock``."""
        self.assertEqual(self.listen_unix(self.path), (self.path, 0o600))
        path = f"{self.directory}/sock"
        self.assertEqual(self.listen_unix(self.directory), (path, 0o600))

    def test_unix(self) -> None:
        """The mode of a socket is 600 unless the endpoint says otherwise."""
        for suffix, mode in (("", 0o600), (":mode=660", 0o660), (":backlog=5", 0o600)):
            value = f"unix:{self.path}{suffix}"
            self.assertEqual(self.listen_unix(value), (self.path, mode))
            self.assertFalse(AdminEndpoint.parse(value).is_tcp)

    def test_colons(self) -> None:
        """A path may have colons, and may look like an argument."""
        path = f"{self.directory}/:mode=666.sock"
        self.assertEqual(self.listen_unix(path), (path, 0o600))
        quoted = f"unix:{self.directory}/\\:mode\\=666.sock"
        self.assertEqual(self.listen_unix(quoted), (path, 0o600))

    def test_directory(self) -> None:
        """A missing directory is created, for the user of devlxd only."""
        missing = f"{self.directory}/a/b"
        for value in (f"{missing}/x.sock", f"unix:{missing}/x.sock", missing):
            AdminEndpoint.parse(value).check()
            self.assertEqual(stat.S_IMODE(os.stat(missing).st_mode), 0o700)
            os.removedirs(missing)
            os.makedirs(self.directory, exist_ok=True)

    def test_stale(self) -> None:
        """A socket on which no process listens is replaced, any other is not."""
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.path)
            listening.listen()
            self.assert_refused(self.path, f"(pid {os.getpid()}) serves {self.path}")
        self.assertEqual(AdminEndpoint.parse(self.path).check(), self.path)
        self.assertFalse(os.path.exists(self.path))

    def test_addresses(self) -> None:
        """Two ways to write an endpoint have one address."""
        self.assertEqual(
            AdminEndpoint.parse(f"unix:{self.directory}/../{self.path}").check(),
            AdminEndpoint.parse(f"{self.directory}/../{self.path}").check(),
        )
        self.assertEqual(AdminEndpoint.parse("tcp:0").check(), "127.0.0.1:0")

    def test_tcp(self) -> None:
        """A TCP endpoint is on the loopback interface by default."""
        for suffix, interface in (
            ("", "127.0.0.1"),
            (":backlog=5", "127.0.0.1"),
            (":interface=192.0.2.1", "192.0.2.1"),
            (":interface=\\:\\:1", "::1"),
        ):
            self.listen(f"tcp:9{suffix}")
            port, _, _, bound = self.reactor.tcpServers.pop()
            self.assertEqual((port, bound), (9, interface))
            self.assertTrue(AdminEndpoint.parse(f"tcp:9{suffix}").is_tcp)

    def test_tcp_in_use(self) -> None:
        """A port that cannot be bound is refused before devlxd starts."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            self.assert_refused(f"tcp:{port}", "Address already in use")
        self.assert_refused("tcp:0:interface=192.0.2.1", "Cannot assign")

    def test_refused(self) -> None:
        """What cannot be listened on is refused, with the reason."""
        for value, text in (
            ("", "must not be empty"),
            ("udp:1", "unknown kind of endpoint: udp"),
            ("ssl:1", "unknown kind of endpoint: ssl"),
            ("tcp:http:x", "must have the form tcp:PORT[:interface=ADDRESS]"),
            ("unix:/x:mode=rw", "must have the form unix:PATH[:mode=MODE]"),
            (f"unix:{self.directory}/{'x' * 200}", "name too long"),
            ("systemd:domain=UNIX:name=devlxd-admin", "systemd passed no such socket"),
        ):
            self.assert_refused(value, text)

    def test_systemd(self) -> None:
        """A UNIX socket of systemd is adopted; it must be one."""
        for family in (socket.AF_UNIX, socket.AF_INET):
            adopted = AdoptedStreamServerEndpoint(self.reactor, 3, family)
            self.patch(
                devlxd.host.listening, "serverFromString", lambda *_, it=adopted: it
            )
            at = AdminEndpoint.parse("systemd:domain=UNIX:name=a")
            if family == socket.AF_UNIX:
                self.assertIsInstance(at.endpoint(self.reactor), AdoptedEndpoint)
                self.assertEqual(at.check(), at.description)
            else:
                self.assertRaises(ValueError, at.endpoint, self.reactor)

    def test_umask(self) -> None:
        """The socket is created with its mode: nobody can connect before it is set."""
        umasks: list[int] = []

        listen = self.reactor.listenUNIX

        def record_umask(*args: object) -> object:
            umasks.append(os.umask(0o777))
            os.umask(umasks[-1])
            return listen(*args)

        self.patch(self.reactor, "listenUNIX", record_umask)
        old = os.umask(0o022)
        self.addCleanup(os.umask, old)
        self.listen_unix(self.path)
        self.listen_unix(f"unix:{self.path}:mode=660")
        self.assertEqual(umasks, [0o177, 0o117])
        self.assertEqual(os.umask(0o022), 0o022)
