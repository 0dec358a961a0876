"""Tests of `devlxd.host.socket_files`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorUNIX
from twisted.internet.protocol import ClientFactory
from zope.interface.verify import verifyObject

from devlxd.host import socket_files
from devlxd.host.socket_files import (
    SocketFile,
    StaleSocketReplacer,
    remove_stale_socket,
)
from tests.host.test_listening import ListeningTestCase


class SocketFileTests(ListeningTestCase):
    """The file of a socket on which devlxd listens."""

    def file(self) -> SocketFile:
        """Return the file of a new socket."""
        self.bind()
        found = SocketFile.at(self.path)
        assert found is not None
        return found

    def test_there(self) -> None:
        """The file is there while its path names it."""
        self.assertTrue(self.file().is_there())

    def test_removed(self) -> None:
        """A file that was removed is not there, nor is one without its directory."""
        file = self.file()
        os.rename(self.path, f"{self.path}.old")
        self.assertFalse(file.is_there())
        self.assertFalse(SocketFile(f"{self.path}.old/x", 1, 1).is_there())

    def test_replaced(self) -> None:
        """Another socket at the path is not the file."""
        file = self.file()
        os.rename(self.path, f"{self.path}.old")
        self.bind()
        self.assertFalse(file.is_there())

    def test_not_visible(self) -> None:
        """A file that cannot be looked at is taken to be there."""
        name = "x" * 300
        self.assertTrue(SocketFile(f"{self.directory}/{name}", 1, 1).is_there())

    def test_no_file(self) -> None:
        """A socket may have no file: its name is abstract, or its file is gone."""
        self.assertIsNone(SocketFile.at(self.path))
        self.assertIsNone(SocketFile.at("\0devlxd"))


class StaleSocketReplacerTests(ListeningTestCase):
    """Files at the path of a socket."""

    def test_interface(self) -> None:
        """A `StaleSocketReplacer` is used in place of a reactor."""
        replacer = StaleSocketReplacer(self.reactor)
        self.assertTrue(verifyObject(IReactorUNIX, replacer))
        replacer.connectUNIX(self.path, ClientFactory())
        self.assertEqual(self.reactor.unixClients[0][0], self.path)

    def test_stale(self) -> None:
        """A socket on which no process listens is replaced."""
        self.bind().close()
        self.assertEqual(self.listen(self.path)[0], self.path)
        self.assertFalse(os.path.exists(self.path))

    def test_two_processes(self) -> None:
        """Two processes that start at the same time keep each other's sockets."""
        self.bind().close()
        check = socket_files._check_stale
        listening: list[socket.socket] = []

        def other_is_faster(path: str) -> None:
            check(path)
            if not listening:
                os.unlink(path)
                listening.append(self.bind())
                listening[0].listen()

        self.patch(socket_files, "_check_stale", other_is_faster)
        self.assert_refused(self.path, "serves")
        self.assertEqual(os.listdir(self.directory), ["sock"])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)

    def test_live(self) -> None:
        """A socket on which a process listens stays; the error names the process."""
        self.bind().listen()
        self.assert_refused(self.path, f"(pid {os.getpid()}) serves {self.path}")
        self.assertTrue(os.path.exists(self.path))

    def test_servers(self) -> None:
        """The error names the other server: devlxd or any other."""
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
        """A socket whose queue of connections is full stays as well."""
        self.bind().listen(0)
        for _ in range(2):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.setblocking(False)
            client.connect_ex(self.path)
        self.assert_refused(self.path, f"another server serves {self.path}")

    def test_no_socket(self) -> None:
        """A file that is not a socket stays as it is."""
        with open(self.path, "w") as file:
            file.write("precious")
        self.assert_refused(self.path, "not a socket")
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")

    def test_no_directory(self) -> None:
        """The error names the directory that does not exist."""
        self.assert_refused(self.path + "/x/sock", "No such file or directory")
        self.bind().close()
        self.assert_refused(self.path + "/sock", "Not a directory")
        self.assert_refused("unix:", "No such file or directory")

    def test_long_path(self) -> None:
        """A path that is too long for the kernel is refused"""
        path = os.path.join(self.directory, "x" * 108)
        error = self.assertRaises(CannotListenError, remove_stale_socket, path)
        self.assertIn("too long", str(error.socketError))
