"""Real members of etcd, as processes: alone, or three in networks of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.integration.etcd_client import BAD_TOKEN, UNCERTAIN, EtcdClient, EtcdError
from tests.integration.processes import TIMEOUT, Output, run, start, wait_until

#: The programs that the tests need, and their Debian packages.
PROGRAMS = {"etcd": "etcd-server", "etcdctl": "etcd-client"}

#: Runs a command in a directory. etcd 3.4 makes UNIX sockets in its working directory.
IN_DIRECTORY = ("sh", "-c", 'cd "$1" && shift && exec "$@"', "-")

#: The codes of an etcd that answers, and wants a name or another token.
LOG_IN = (3, BAD_TOKEN)

#: The peer's address of a member that is alone, which nobody connects to.
NOWHERE = "http://127.0.0.1:1"


def reserve_port() -> socket.socket:
    """Return a socket that is bound to a free port of 127.0.0.1.

    As long as it exists, and does not listen, no other program is given the port, but
    etcd can listen there.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


class EtcdMember:
    """A member of etcd, whose clients connect to a UNIX socket.

    :param home: the directory in which it gets one of its own.
    :param options: further options of etcd.
    :param name: its name.
    :param peers: the peers' addresses of all members, by name.
    :param listen_peers: where it listens for peers; default: a UNIX socket.
    :param prefix: the command that runs etcd, for another network.
    """

    def __init__(
        self,
        home: Path,
        *options: str,
        name: str = "n1",
        peers: Mapping[str, str] | None = None,
        listen_peers: str = "unix://peers.sock:0",
        prefix: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._directory = home / name
        self._directory.mkdir()
        self.data = self._directory / "data"
        self.socket = self._directory / f"{name}.sock:0"
        self._peers = peers or {name: NOWHERE}
        self._listen_peers = listen_peers
        self._options = options
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None
        self._output: Output | None = None
        self.client = EtcdClient(self.socket)

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it may not answer yet."""
        for path in self._directory.glob("*.sock:0"):
            path.unlink()
        self._output = Output(f"etcd {self.name}")
        self._process = start(
            *(*IN_DIRECTORY, str(self._directory), *self._prefix, "etcd"),
            f"--name={self.name}",
            "--data-dir=data",
            f"--listen-client-urls=unix://{self.socket.name}",
            "--advertise-client-urls=http://127.0.0.1:1",
            f"--listen-peer-urls={self._listen_peers}",
            f"--initial-advertise-peer-urls={self._peers[self.name]}",
            f"--initial-cluster={self._initial_cluster()}",
            *("--unsafe-no-fsync", "--logger=zap"),
            *self._options,
            output=self._output,
        )

    def _initial_cluster(self) -> str:
        return ",".join(f"{name}={url}" for name, url in self._peers.items())

    def wait(self) -> None:
        """Wait until it answers for the majority of the members."""
        wait_until(self.answers, f"{self.name} answers")

    def answers(self) -> bool:
        """Return whether it answers for the majority of the members."""
        try:
            self.client.get("/")
        except EtcdError as error:
            return error.code in LOG_IN
        except UNCERTAIN:
            return False
        return True

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End the process by a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(TIMEOUT)
            self._process = None
        self.client.close()

    def wipe(self) -> None:
        """Remove all data of the member, which does not run."""
        shutil.rmtree(self.data)

    def control(self, *arguments: str, stdin: str = "") -> str:
        """Run ``etcdctl``; return its stdout."""
        endpoint = f"--endpoints=unix://{self.socket}"
        command = ["etcdctl", endpoint, *arguments]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        place = (*IN_DIRECTORY, str(self._directory))
        return run(*place, *command, env=environment, stdin=stdin)

    def save(self) -> Path:
        """Save a snapshot; return its path."""
        path = self._directory / "snapshot"
        path.unlink(missing_ok=True)
        self.control("snapshot", "save", str(path))
        return path

    def restore(self, snapshot: Path) -> None:
        """Replace the data of the member, which does not run, by a snapshot."""
        self.wipe()
        self.control(
            *("snapshot", "restore", str(snapshot)),
            *("--data-dir=data", f"--name={self.name}"),
            f"--initial-cluster={self._initial_cluster()}",
            f"--initial-advertise-peer-urls={self._peers[self.name]}",
        )

    def status(self) -> dict[str, Any]:
        """Return what the member says of itself."""
        return self.client.call("/maintenance/status", {})
