"""Real LXC containers that start in a moment, and a real devlxd beside them.

A container's root is empty directories with the host's programs bound into
it, read-only. Its init is a small agent: what it runs is a child of the
container's init, as the programs of a guest are; ``lxc-attach`` is the other
way in.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

#: What the tests need of the host, and the Debian package that has it.
_NEEDED = {"lxc-start": "lxc", "curl": "curl", "setpriv": "util-linux"}

_BOUND = ["usr", "bin", "lib", "lib64", "etc"]

_DIRECTORIES = [*_BOUND, "dev", "proc", "root", "run", "sys", "tmp", "var/tmp"]

#: How long anything may take, in seconds; a host that is busy is slow.
PATIENCE = 60.0

#: The twistd that belongs to this Python.
TWISTD = str(Path(sys.executable).with_name("twistd"))

#: Runs what it is asked to, as children of its own, each in a thread.
_INIT = """
import json, os, socketserver, subprocess

class Run(socketserver.StreamRequestHandler):
    def handle(self):
        command = json.loads(self.rfile.read())
        done = subprocess.run(command, stdout=-1, stderr=-2, stdin=-3)
        answer = [done.returncode, done.stdout.decode("latin-1")]
        self.wfile.write(json.dumps(answer).encode())

class Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 100

Server("/run/init/sock", Run).serve_forever()
"""


def missing() -> str | None:
    """Say what is missing to run containers here, or ``None``."""
    if os.geteuid() != 0:
        return "needs root"
    for program, package in _NEEDED.items():
        if shutil.which(program) is None:
            return f"needs {program} (Debian: apt-get install {package})"
    return None


class GuestError(Exception):
    """What ran in a guest failed; the text is what it printed."""


def _check(command: Sequence[str], code: int, output: str) -> str:
    if code:
        raise GuestError(f"{command[0]} gave {code}: {output}")
    return output


@frozen
class LXCContainer:
    """A running container.

    :ivar name: its name, as LXC knows it.
    :ivar home: a directory of the test's, for its files.
    :ivar host_id: the uid and gid on the host of its root; 0 for a
        privileged one.
    :ivar binds: directories of the host, to where they are in the guest.
    """

    name: str
    home: Path
    host_id: int = 0
    binds: Mapping[Path, str] = field(factory=dict)

    def start(self) -> None:
        """Start it; it runs when this returns."""
        rootfs = self._path / "rootfs"
        init = self._path / "init"
        for directory in _DIRECTORIES:
            (rootfs / directory).mkdir(parents=True)
        init.mkdir()
        (init / "init.py").write_text(_INIT)
        for path in (init, rootfs, *rootfs.rglob("*")):
            os.chown(path, self.host_id, self.host_id)
        (self._path / "config").write_text(self._config(rootfs, init))
        _run("lxc-start", "-P", str(self.home), "-n", self.name)
        _run("lxc-wait", "-P", str(self.home), "-n", self.name, "-s", "RUNNING")
        self._attach("sh", "-c", "until test -S /run/init/sock; do sleep 0.05; done")

    def stop(self) -> None:
        """Stop it, and forget it."""
        _run("lxc-stop", "-P", str(self.home), "-n", self.name, "-k")
        shutil.rmtree(self._path)

    def init_pid(self) -> int:
        """Return the pid of its init, as the host sees it."""
        return int(_run("lxc-info", "-P", str(self.home), "-n", self.name, "-pH"))

    def run(self, *command: str) -> str:
        """Run a command as a child of the container's init.

        :return: what it printed, on stdout and stderr.
        :raises GuestError: when it failed.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self._path / "init" / "sock"))
            connection.sendall(json.dumps(command).encode())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile() as file:
                code, output = json.load(file)
        return _check(command, code, output)

    def attach(self, *command: str) -> str:
        """Run a command through ``lxc-attach``.

        :return: what it printed.
        :raises GuestError: when it failed.
        """
        return self._attach(*command)

    def _attach(self, *command: str) -> str:
        attach = ["lxc-attach", "-P", str(self.home), "-n", self.name, "--"]
        return _run(*attach, *command)

    @property
    def _path(self) -> Path:
        return self.home / self.name

    def _config(self, rootfs: Path, init: Path) -> str:
        lines = [
            f"lxc.uts.name = {self.name}",
            f"lxc.rootfs.path = dir:{rootfs}",
            "lxc.net.0.type = empty",
            "lxc.mount.auto = proc:mixed sys:mixed",
            "lxc.init.cmd = /usr/bin/python3 /run/init/init.py",
            f"lxc.mount.entry = {init} run/init none bind,create=dir 0 0",
        ]
        if self.host_id:
            lines.append(f"lxc.idmap = u 0 {self.host_id} 65536")
            lines.append(f"lxc.idmap = g 0 {self.host_id} 65536")
        for name in _BOUND:
            entry = f"/{name} {name} none bind,ro,create=dir 0 0"
            lines.append(f"lxc.mount.entry = {entry}")
        for host, guest in self.binds.items():
            mode = "ro," if guest.startswith("dev/") else ""
            entry = f"{host} {guest} none bind,{mode}create=dir 0 0"
            lines.append(f"lxc.mount.entry = {entry}")
        return "\n".join(lines) + "\n"


def _run(*command: str) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    return _check(command, done.returncode, done.stdout.decode("latin-1"))


def unique_name(word: str) -> str:
    """Return a name for a container that no other container has."""
    return f"devlxd-{secrets.token_hex(3)}-{word}"


def make_home() -> Path:
    """Make a directory that the root of any container may pass through."""
    home = Path(tempfile.mkdtemp(prefix="devlxd-"))
    home.chmod(0o755)
    return home


class DevLXD:
    """A devlxd of its own process, as an operator runs it.

    :ivar pid: its process id.
    :ivar log: the lines that it has logged until it listened.
    """

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [TWISTD, "-n", "--pidfile=", "devlxd", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        self.log: list[str] = []
        listening = 0
        while listening < max(1, sum(a.startswith("--listen") for a in arguments)):
            line = self._read_line()
            listening += "guests are served at" in line

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise GuestError("devlxd ended: " + "".join(self.log))
        self.log.append(line)
        return line

    def wait_for(self, text: str) -> str:
        """Read the log until a line has ``text`` in it; return the line."""
        while text not in (line := self._read_line()):
            pass
        return line

    def open_files(self) -> int:
        """Count its open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Stop it; return its exit status."""
        self._process.send_signal(how)
        output, _ = self._process.communicate(timeout=PATIENCE)
        self.log.append(output)
        return self._process.returncode
