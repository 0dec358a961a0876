"""Tests of a real twistd with a socket from systemd (sd_listen_fds(3))."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
import tempfile
from pathlib import Path

from tests.integration.processes import ProcessTestCase, run
from tests.integration.servers import TWISTD, ServerProcess

#: Opens a socket as systemd does, then executes the service.
SYSTEMD = """
import os, socket, sys
path, *command = sys.argv[1:]
listening = socket.socket(socket.AF_UNIX)
listening.bind(path)
os.chmod(path, 0o600)
listening.listen()
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="guests")
os.execv(command[0], command)
"""


class SystemdTests(ProcessTestCase):
    """Socket activation."""

    def test_socket(self) -> None:
        """Guests are served at the socket, and its permissions do not change."""
        home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, home)
        (home / "containers").mkdir()
        (home / "containers" / "c1.yaml").write_text("config: {user.a: b}\n")
        path = home / "sock"
        server = ServerProcess(
            *(sys.executable, "-c", SYSTEMD, str(path), TWISTD, "-n", "--pidfile="),
            *("devlxd", "--listen=systemd:domain=UNIX:name=guests", "--assume=c1"),
            *(f"--containers={home}/containers", f"--state={home}/state"),
        )
        self.addCleanup(server.stop)
        curl = [
            "curl",
            "-s",
            "--unix-socket",
            str(path),
            "http://lxd/1.0/config/user.a",
        ]
        self.assertEqual(run(*curl), "b")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        server.stop()
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with socket.socket(socket.AF_UNIX) as client:
            self.assertRaises(ConnectionRefusedError, client.connect, str(path))
