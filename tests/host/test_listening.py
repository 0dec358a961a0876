"""Tests of `devlxd.host.listening`."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile

from twisted.internet.address import (
    HostnameAddress,
    IPv4Address,
    IPv6Address,
    UNIXAddress,
)
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

import devlxd.host.listening
from devlxd.host.adopted import AdoptedEndpoint
from devlxd.host.listening import (
    address_of,
    address_text,
    check_endpoint,
    endpoint_at,
    is_loopback,
    listen_now,
)
from devlxd.host.socket_files import BACKLOG, MAX_PATH


class ListeningTestCase(SynchronousTestCase):
    """A base class with a directory that has a short path, and a reactor in memory."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.path = os.path.join(self.directory, "sock")
        self.reactor = MemoryReactor()
        self.addCleanup(shutil.rmtree, self.directory)

    def bind(self) -> socket.socket:
        """Bind a socket at the path, and return it; it does not listen."""
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(self.path)
        return server

    def listen(self, description: str) -> tuple[str, int, int, bool]:
        """Listen at an endpoint; return the arguments of `listenUNIX`."""
        listen_now(endpoint_at(self.reactor, description), Factory())
        path, _factory, backlog, mode, want_pid = self.reactor.unixServers[-1]
        return path, backlog, mode, want_pid

    def assert_refused(self, description: str, reason: str) -> None:
        """Check that both `check_endpoint` and listening fail."""
        for attempt in (self.listen, check_endpoint):
            error = self.assertRaises(CannotListenError, attempt, description)
            self.assertIn(reason, str(error.socketError))
        self.assertEqual(self.reactor.unixServers, [])


class DescriptionTests(ListeningTestCase):
    """The descriptions of endpoints that an operator may write."""

    def test_path(self) -> None:
        """The socket is created at the path of a socket; every user may connect."""
        self.assertEqual(self.listen(self.path), (self.path, BACKLOG, 0o666, False))

    def test_directory(self) -> None:
        """A directory stands for the socket ``sock`` in it."""
        for name in ("", "/"):
            self.assertEqual(self.listen(self.directory + name)[0], self.path)

    def test_missing_directory(self) -> None:
        """A missing directory is created, with mode 755 for any umask."""
        self.addCleanup(os.umask, os.umask(0o077))
        directory = f"{self.directory}/run/devlxd"
        for attempt in (check_endpoint, self.listen):
            attempt(directory)
            for created in (directory, os.path.dirname(directory)):
                self.assertEqual(os.stat(created).st_mode & 0o7777, 0o755)
                self.assertTrue(os.path.isdir(created))
            shutil.rmtree(f"{self.directory}/run")
        self.assertEqual(self.reactor.unixServers[-1][0], f"{directory}/sock")

    def test_socket_by_its_name(self) -> None:
        """``sock`` and ``*.sock`` name a socket; its directory is not created."""
        for name in ("sock", "x.sock"):
            self.assert_refused(f"{self.directory}/nope/{name}", "No such file")
        for name in ("sock", "x.sock"):
            path = f"{self.directory}/{name}"
            self.assertEqual(self.listen(path)[0], path)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        self.assertEqual(self.listen("sock")[0], "sock")
        self.assertEqual(os.listdir(self.directory), [])

    def test_long_path(self) -> None:
        """The error says how long the path of a socket may be, and which it is."""
        longest = self.directory + "/" + "x" * (MAX_PATH - len(self.directory) - 1)
        self.assertEqual(self.listen(f"unix:{longest}")[0], longest)
        for description in (f"unix:{longest}x", f"{longest[:-4]}", f"{longest}.sock"):
            with self.assertRaisesRegex(ValueError, rf"{longest[:-4]}.* 107$"):
                endpoint_at(self.reactor, description)

    def test_not_a_directory(self) -> None:
        """A file at the path of the directory is kept, even a stale socket."""
        path = f"{self.directory}/devlxd"
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(path)
        self.assert_refused(
            path, f"not a directory; for a socket of that name write unix:{path}"
        )
        self.assert_refused(f"{path}/x", "Not a directory")
        error = self.assertRaises(CannotListenError, self.listen, f"{path}/x/y")
        self.assertIn(f"{path}/x/y:", str(error))
        self.assertTrue(os.path.exists(path))
        self.assertEqual(self.listen(f"unix:{path}")[0], path)

    def test_endpoint_string(self) -> None:
        """A Twisted endpoint string is accepted; no lock file is used."""
        self.assertEqual(
            self.listen(f"unix:{self.path}:mode=600:backlog=9999"),
            (self.path, 9999, 0o600, False),
        )

    def test_other_kind(self) -> None:
        """`endpoint_at` returns Twisted's own endpoints of other kinds."""
        listen_now(endpoint_at(self.reactor, "tcp:0"), Factory())
        self.assertEqual(len(self.reactor.tcpServers), 1)

    def assert_no_endpoint(self, description: str, reason: str, **how: bool) -> None:
        """Check that guests cannot be served at an endpoint."""
        error = self.assertRaises(ValueError, check_endpoint, description, **how)
        self.assertEqual(str(error), reason)

    def test_anonymous(self) -> None:
        """Endpoints whose peers the kernel does not identify are refused."""
        for description in (
            "tcp:0",
            "tcp:0:interface=127.0.0.1",
            "tcp6:0",
            "ssl:443",
            "haproxy:tcp:80",
        ):
            self.assert_no_endpoint(
                description, "guests can be identified on UNIX sockets only"
            )

    def test_loopback(self) -> None:
        """If callers are not identified, a loopback address is accepted."""
        for interface in ("127.0.0.1", "127.1.2.3", "\\:\\:1"):
            description = f"tcp:0:interface={interface}"
            self.assertEqual(check_endpoint(description, False), description)
        for more in ("", ":interface=0.0.0.0", ":interface=192.0.2.1", ":interface=x"):
            self.assert_no_endpoint(
                f"tcp:0{more}",
                "other hosts could connect; write interface=127.0.0.1",
                identified=False,
            )
        self.assert_no_endpoint(
            "tcp6:0", "guests can be identified on UNIX sockets only", identified=False
        )

    def test_systemd(self) -> None:
        """An endpoint may be a UNIX socket that systemd passes."""
        self.assert_no_endpoint(
            "systemd:domain=UNIX:name=x", "systemd passed no such socket"
        )
        for description in ("systemd:domain=UNIX", "systemd:domain=X:index=0"):
            self.assertRaises(ValueError, check_endpoint, description)
        passed = AdoptedStreamServerEndpoint(self.reactor, 3, socket.AF_UNIX)
        self.patch(devlxd.host.listening, "serverFromString", lambda *_: passed)
        check_endpoint("systemd:domain=UNIX:name=x")
        self.assert_no_endpoint(
            "systemd:domain=INET:name=x",
            "guests can be identified on UNIX sockets only",
        )

    def test_malformed(self) -> None:
        """Errors in a description are explained in the operator's terms."""
        unix = "must have the form unix:PATH[:mode=MODE][:backlog=NUMBER]"
        for description, reason in (
            ("", "must not be empty"),
            ("nope:1", "unknown kind of endpoint: nope"),
            ("tcp:x", "must have the form tcp:PORT:interface=ADDRESS"),
            ("tcp:1:2:3:4:5:6", "must have the form tcp:PORT:interface=ADDRESS"),
            ("unix:/a:b=c", unix),
            ("unix:/a:mode=rw", unix),
        ):
            self.assert_no_endpoint(description, reason, identified=False)

    def test_check_does_not_listen(self) -> None:
        """`check_endpoint` creates no socket."""
        check_endpoint(self.path)
        self.assertEqual(os.listdir(self.directory), [])


class AddressTests(ListeningTestCase):
    """The addresses of endpoints, as operators see them."""

    def test_before_listening(self) -> None:
        """The path of a UNIX socket is known before it listens."""
        for description in (self.path, self.directory, f"unix:{self.path}"):
            at = endpoint_at(self.reactor, description)
            self.assertEqual(address_of(at), self.path)
        self.assertEqual(
            address_of(endpoint_at(self.reactor, "tcp:0")), "TCP4ServerEndpoint"
        )

    def test_adopted(self) -> None:
        """So is that of a socket that another process has opened."""
        server = self.bind()
        self.assertEqual(address_of(AdoptedEndpoint(server.fileno())), self.path)
        self.assertEqual(server.getsockname(), self.path)

    def test_text(self) -> None:
        """The address of a port is a path, or a host and a port."""
        for address, text in (
            (UNIXAddress(self.path), self.path),
            (UNIXAddress(None), ""),
            (IPv4Address("TCP", "127.0.0.1", 80), "127.0.0.1:80"),
            (IPv6Address("TCP", "::1", 80), "[::1]:80"),
            (HostnameAddress(b"a", 80), str(HostnameAddress(b"a", 80))),
        ):
            self.assertEqual(address_text(address), text)

    def test_loopback(self) -> None:
        """Only addresses are loopback addresses, not names."""
        for interface in ("127.0.0.1", "127.1.2.3", "::1"):
            self.assertTrue(is_loopback(interface))
        for interface in ("", "0.0.0.0", "192.0.2.1", "localhost"):
            self.assertFalse(is_loopback(interface))
