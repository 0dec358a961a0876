"""Real LXC containers that start within a second, and a real devlxd.

The root of a container consists of empty directories, with the programs of the
host bound into them read-only. Its init is a small agent: the commands that it
runs are children of the container's init, as the programs of any guest are.
``lxc-attach`` is the other way to run a command inside.
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

#: What devlxd logs for each endpoint as soon as it listens there.
LISTENING = "guests are served at"

#: The programs that the tests need on the host, and their Debian packages.
_NEEDED = {"lxc-start": "lxc", "curl": "curl", "setpriv": "util-linux"}

_BOUND = ["usr", "bin", "lib", "lib64", "etc"]

_DIRECTORIES = [*_BOUND, "dev", "proc", "root", "run", "sys", "tmp", "var/tmp"]

#: The twistd that belongs to this Python.
TWISTD = str(Path(sys.executable).with_name("twistd"))

#: Runs the commands that it receives, as its children, each in a thread.
INIT = """
import json, os, socketserver, subprocess

class Run(socketserver.StreamRequestHandler):
    def handle(self):
        command = json.loads(self.rfile.read())
        done = subprocess.run(command, stdout=-1, stderr=-2, stdin=-3)
        result = [done.returncode, done.stdout.decode("latin-1")]
        self.wfile.write(json.dumps(result).encode())

class Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 100

Server("/run/init/sock", Run).serve_forever()
"""

#: Waits in a guest until its init accepts commands.
UNTIL_READY = "until test -S /run/init/sock; do sleep 0.05; done"


def missing_requirement() -> str | None:
    """Return what this host lacks to run containers, or ``None``."""
    if os.geteuid() != 0:
        return "needs root"
    for program, package in _NEEDED.items():
        if shutil.which(program) is None:
            return f"needs {program} (Debian: apt-get install {package})"
    return None


@frozen
class LXCContainer:
    """An LXC container.

    :ivar name: its name in LXC.
    :ivar home: a directory of the test, for the container's files.
    :ivar host_id: the uid and gid of its root on the host; 0 for a privileged
        container.
    :ivar binds: directories of the host, and where the guest finds them.
    :ivar program: the Python program that its init runs.
    """

    name: str
    home: Path
    host_id: int = 0
    binds: Mapping[Path, str] = field(factory=dict)
    program: str = INIT

    def start(self) -> None:
        """Create and start the container; its init is ready when this returns."""
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
        """Create the container without starting it."""
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
        """Stop and remove the container."""
        self._lxc("stop", "-k")
        shutil.rmtree(self._path)

    def init_pid(self) -> int:
        """Return the pid of its init on the host."""
        return int(self._lxc("info", "-pH"))

    def run(self, *command: str) -> str:
        """Run a command as a child of the container's init.

        :return: its stdout and stderr.
        :raises GuestError: if it fails.
        """
        return self.run_at(self._path / "init", *command)

    def run_at(self, init: Path, *command: str) -> str:
        """Run a command as `run` does, by an init whose directory is ``init``."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(init / "sock"))
            connection.sendall(json.dumps(command).encode())
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile() as file:
                code, output = json.load(file)
        return check(command, code, output)

    def attach(self, *command: str) -> str:
        """Run a command with ``lxc-attach``.

        :return: its stdout.
        :raises GuestError: if it fails.
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


#: What every program in a guest starts with: functions to send requests, and
#: `arrive`, which connects to the test's `Barrier`.
PRELUDE = """
import array, os, socket, sys

def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(SOCKET)
    return connection

SECRET = b"GET /1.0/config/user.secret HTTP/1.0\\r\\n\\r\\n"

def ask(connection, request=SECRET, end=None):
    response = b""
    try:
        connection.sendall(request)
        while data := connection.recv(65536):
            response += data
            if end and response.endswith(end):
                break
    except OSError:
        return "closed"
    return response.partition(b"\\r\\n\\r\\n")[2].decode() or "closed"

def arrive(name):
    host = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    host.connect("/run/shared/host")
    host.sendall(name)
    return host
"""


def python(program: str, *arguments: str, socket: str = "/dev/lxd/sock") -> list[str]:
    """Return the command that runs a Python program in a guest.

    :param socket: the path that its ``connect()`` connects to.
    """
    head = f"SOCKET = {socket!r}\n{PRELUDE}"
    return ["python3", "-c", head + textwrap.dedent(program), *arguments]


class Barrier:
    """A barrier at which programs in guests wait for the test.

    :param directory: a directory that the guests find at ``/run/shared``.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "host"
        self._arrived: dict[bytes, tuple[socket.socket, int]] = {}
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __enter__(self) -> Barrier:
        """Listen for programs that arrive."""
        self._server.bind(str(self._path))
        self._path.chmod(0o666)
        self._server.listen()
        self._server.settimeout(TIMEOUT)
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections, which ends the waiting of all programs."""
        for connection, _pid in self._arrived.values():
            connection.close()
        self._server.close()
        self._path.unlink()

    def wait_for(self, name: bytes) -> tuple[socket.socket, int]:
        """Wait until a program arrives.

        :param name: the name that it sends.
        :return: the connection to it, and its pid on the host.
        """
        while name not in self._arrived:
            connection, _ = self._server.accept()
            connection.settimeout(TIMEOUT)
            ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            (pid,) = struct.unpack_from("i", ucred)
            self._arrived[connection.recv(100)] = (connection, pid)
        return self._arrived[name]


def unique_name(word: str) -> str:
    """Return a container name that ends with ``word`` and that nothing else uses."""
    return f"devlxd-{secrets.token_hex(3)}-{word}"


def hierarchies() -> list[Path]:
    """Return the mount points of the cgroup hierarchies, each hierarchy once."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    tops = [Path(m[1]) for m in mounts if m[2] in ("cgroup", "cgroup2")]
    return list({top.stat().st_dev: top for top in tops}.values())


def make_home() -> Path:
    """Create a temporary directory that every user may traverse."""
    home = Path(tempfile.mkdtemp(prefix="devlxd-"))
    home.chmod(0o755)
    return home


class ServerProcess:
    """A process that serves guests. It listens when this is created.

    :param endpoints: how many lines with `LISTENING` to wait for.
    :param environment: its environment; default: this process's.
    :ivar pid: its process id.
    :ivar log: the lines of its log that have been read.
    :raises GuestError: if it ends before it listens.
    """

    def __init__(
        self,
        *command: str,
        endpoints: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._output = Output(" ".join(command))
        self._process = start(*command, env=environment, output=self._output)
        self.pid = self._process.pid
        self.log: list[str] = []
        try:
            for _ in range(endpoints):
                self.wait_for(LISTENING)
            self._idle_sockets = self._sockets()
        except BaseException:
            self._process.kill()
            raise

    def wait_for(self, text: str) -> str:
        """Read the log until a line contains ``text``; return the line."""
        return wait_until(lambda: self._find(text), f"a line with {text!r}")

    def check_running(self) -> None:
        """Check that the process has not ended.

        :raises GuestError: if it has, with its log.
        """
        if self._process.poll() is not None:
            self.log.extend(self._output.lines())
            raise GuestError("it ended: " + "".join(self.log))

    def _find(self, text: str) -> str | None:
        ended = self._process.poll() is not None
        for line in self._output.lines():
            self.log.append(line)
            if text in line:
                return line
        if ended:
            self.check_running()
        return None

    def open_files(self) -> int:
        """Wait until all connections are closed; return the number of open files."""
        wait_until(
            lambda: self._sockets() == self._idle_sockets, "all connections closed"
        )
        return len(self._files())

    def wait_for_files(self, count: int) -> None:
        """Wait until the process has exactly ``count`` open files.

        :raises AssertionError: after the timeout, with their names.
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
        """Return its resident memory in KiB (proc(5), ``VmRSS``)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1])

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it with a signal; return its exit status."""
        self.send_signal(number)
        # A test may have stopped it with SIGSTOP.
        self.send_signal(signal.SIGCONT)
        try:
            return self._process.wait(TIMEOUT)
        finally:
            self._process.kill()
            self.log.extend(self._output.lines())


class DevLXD(ServerProcess):
    """``twistd devlxd``; its ``--state`` is temporary unless one is given."""

    def __init__(self, *arguments: str) -> None:
        self._state = tempfile.TemporaryDirectory(prefix="devlxd-state-")
        command = [TWISTD, "-n", "--pidfile=", "devlxd", f"--state={self._state.name}"]
        listens = sum(argument.startswith("--listen") for argument in arguments)
        super().__init__(*command, *arguments, endpoints=listens)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it and remove its state; return its exit status."""
        status = super().stop(number)
        self._state.cleanup()
        return status
