"""Real LXC containers that start in a moment, and a real devlxd beside them.

A container's root is empty directories with the host's programs bound into
it, read-only. Its init is a small agent: what it runs is a child of the
container's init, as the programs of a guest are; ``lxc-attach`` is the other
way in.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from tests.integration.processes import (
    TIMEOUT,
    GuestError,
    Output,
    check,
    run,
    start,
    wait_until,
)

#: What the tests need of the host, and the Debian package that has it.
_NEEDED = {"lxc-start": "lxc", "curl": "curl", "setpriv": "util-linux"}

_BOUND = ["usr", "bin", "lib", "lib64", "etc"]

_DIRECTORIES = [*_BOUND, "dev", "proc", "root", "run", "sys", "tmp", "var/tmp"]

#: The twistd that belongs to this Python.
TWISTD = str(Path(sys.executable).with_name("twistd"))

#: Runs what it is asked to, as children of its own, each in a thread.
INIT = """
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

#: Waits in a guest until its init can be asked.
UNTIL_READY = "until test -S /run/init/sock; do sleep 0.05; done"


def missing_requirement() -> str | None:
    """Say what is missing to run containers here, or ``None``."""
    if os.geteuid() != 0:
        return "needs root"
    for program, package in _NEEDED.items():
        if shutil.which(program) is None:
            return f"needs {program} (Debian: apt-get install {package})"
    return None


@frozen
class LXCContainer:
    """A running container.

    :ivar name: its name, as LXC knows it.
    :ivar home: a directory of the test's, for its files.
    :ivar host_id: the uid and gid on the host of its root; 0 for a
        privileged one.
    :ivar binds: directories of the host, to where they are in the guest.
    :ivar program: what its init runs.
    """

    name: str
    home: Path
    host_id: int = 0
    binds: Mapping[Path, str] = field(factory=dict)
    program: str = INIT

    def start(self) -> None:
        """Make it, and start it; it runs when this returns."""
        self.make()
        log = self._path / "log"
        try:
            self._lxc("start", "-o", str(log), "-l", "WARN")
            self._lxc("wait", "-s", "RUNNING")
            self.attach("sh", "-c", UNTIL_READY)
        except GuestError as error:
            text = log.read_text()
            with contextlib.suppress(GuestError):
                self.stop()
            raise GuestError(f"{error}{text}") from error

    def make(self) -> None:
        """Make it, so that it can be started."""
        rootfs = self._path / "rootfs"
        init = self._path / "init"
        for directory in _DIRECTORIES:
            (rootfs / directory).mkdir(parents=True)
        init.mkdir()
        (init / "init.py").write_text(self.program)
        for path in (init, rootfs, *rootfs.rglob("*")):
            os.chown(path, self.host_id, self.host_id)
        (self._path / "config").write_text(self._config(rootfs, init))

    def stop(self) -> None:
        """Stop it, and forget it."""
        self._lxc("stop", "-k")
        shutil.rmtree(self._path)

    def init_pid(self) -> int:
        """Return the pid of its init, as the host sees it."""
        return int(self._lxc("info", "-pH"))

    def run(self, *command: str) -> str:
        """Run a command as a child of the container's init.

        :return: what it printed, on stdout and stderr.
        :raises GuestError: when it failed.
        """
        return self.run_at(self._path / "init", *command)

    def run_at(self, init: Path, *command: str) -> str:
        """Run a command as `run` does, for an init whose directory is ``init``."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(init / "sock"))
            connection.sendall(json.dumps(command).encode())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile() as file:
                code, output = json.load(file)
        return check(command, code, output)

    def attach(self, *command: str) -> str:
        """Run a command through ``lxc-attach``.

        :return: what it printed.
        :raises GuestError: when it failed.
        """
        return self._lxc("attach", "--", *command)

    def _lxc(self, verb: str, *arguments: str) -> str:
        return run(f"lxc-{verb}", "-P", str(self.home), "-n", self.name, *arguments)

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


#: What programs in a guest are written with: how to ask on a connection.
PRELUDE = """
import array, os, socket, sys

def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("/dev/lxd/sock")
    return connection

SECRET = b"GET /1.0/config/user.secret HTTP/1.0\\r\\n\\r\\n"

def ask(connection, question=SECRET, end=None):
    answer = b""
    try:
        connection.sendall(question)
        while data := connection.recv(65536):
            answer += data
            if end and answer.endswith(end):
                break
    except OSError:
        return "closed"
    return answer.partition(b"\\r\\n\\r\\n")[2].decode() or "closed"

def arrive(name):
    host = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    host.connect("/run/shared/host")
    host.sendall(name)
    return host
"""


def python(program: str, *arguments: str) -> list[str]:
    """Return the command that runs a program in a guest."""
    return ["python3", "-c", PRELUDE + textwrap.dedent(program), *arguments]


class Barrier:
    """Where programs in guests wait for the test to say when they go on.

    :param directory: a directory that they have at ``/run/shared``.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "host"
        self._waiting: dict[bytes, tuple[socket.socket, int]] = {}
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __enter__(self) -> Barrier:
        """Let them come."""
        self._server.bind(str(self._path))
        self._path.chmod(0o666)
        self._server.listen()
        self._server.settimeout(TIMEOUT)
        return self

    def __exit__(self, *_: object) -> None:
        """Let none wait any longer."""
        for connection, _pid in self._waiting.values():
            connection.close()
        self._server.close()
        self._path.unlink()

    def wait_for(self, name: bytes) -> tuple[socket.socket, int]:
        """Wait for a program; return the connection to it, and its pid."""
        while name not in self._waiting:
            connection, _ = self._server.accept()
            connection.settimeout(TIMEOUT)
            ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            (pid,) = struct.unpack_from("i", ucred)
            self._waiting[connection.recv(100)] = (connection, pid)
        return self._waiting[name]


def unique_name(word: str) -> str:
    """Return a name for a container that no other container has."""
    return f"devlxd-{secrets.token_hex(3)}-{word}"


def hierarchies() -> list[Path]:
    """Return where the hierarchies of cgroups are mounted, each once."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    tops = [Path(m[1]) for m in mounts if m[2] in ("cgroup", "cgroup2")]
    return list({top.stat().st_dev: top for top in tops}.values())


def make_home() -> Path:
    """Make a directory that the root of any container may pass through."""
    home = Path(tempfile.mkdtemp(prefix="devlxd-"))
    home.chmod(0o755)
    return home


class ServerProcess:
    """A process that serves guests, as an operator runs it.

    :ivar pid: its process id.
    :ivar log: the lines that it has logged, as far as they were read.
    """

    def __init__(self, *command: str, endpoints: int = 1) -> None:
        self._output = Output(" ".join(command))
        self._process = start(*command, output=self._output)
        self.pid = self._process.pid
        self.log: list[str] = []
        try:
            for _ in range(endpoints):
                self.wait_for("guests are served at")
            self._idle_sockets = self._sockets()
        except BaseException:
            self._process.kill()
            raise

    def wait_for(self, text: str) -> str:
        """Read the log until a line has ``text`` in it; return the line."""
        return wait_until(lambda: self._find(text), f"a line with {text!r}")

    def _find(self, text: str) -> str | None:
        ended = self._process.poll() is not None
        for line in self._output.lines():
            self.log.append(line)
            if text in line:
                return line
        if ended:
            raise GuestError("it ended: " + "".join(self.log))
        return None

    def open_files(self) -> int:
        """Count its open file descriptors, once it has closed all connections."""
        wait_until(
            lambda: self._sockets() == self._idle_sockets, "all connections closed"
        )
        return len(self._files())

    def wait_for_files(self, count: int) -> None:
        """Wait until it has so many file descriptors open.

        :raises AssertionError: with their names, when it never had.
        """
        try:
            wait_until(lambda: len(self._files()) == count, f"{count} open files")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._files()}") from None

    def _sockets(self) -> int:
        return sum(name.startswith("socket:") for name in self._files())

    def _files(self) -> list[str]:
        names = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                names.append(os.readlink(link))
        return names

    def memory(self) -> int:
        """Return how much memory it has resident, in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1])

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Stop it; return its exit status."""
        self.send_signal(how)
        # One that a test has stopped, and not let go on, acts on no other.
        self.send_signal(signal.SIGCONT)
        try:
            return self._process.wait(TIMEOUT)
        finally:
            self._process.kill()
            self.log.extend(self._output.lines())


class DevLXD(ServerProcess):
    """``twistd devlxd``, with a state of its own unless it is given one."""

    def __init__(self, *arguments: str) -> None:
        self._state = tempfile.TemporaryDirectory(prefix="devlxd-state-")
        command = [TWISTD, "-n", "--pidfile=", "devlxd", f"--state={self._state.name}"]
        listens = sum(argument.startswith("--listen") for argument in arguments)
        super().__init__(*command, *arguments, endpoints=listens)

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Stop it, and clean up; return its exit status."""
        status = super().stop(how)
        self._state.cleanup()
        return status
