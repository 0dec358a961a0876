"""LXC containers that start within a second, with the programs of the host.

The root of a container consists of empty directories; those with the programs
of the host are bind mounts, read-only. The init of a container is a small
server that runs commands: they are children of the init, like the programs of
any guest. The other way to run a command in a container is ``lxc-attach``.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from tests.integration.processes import (
    TIMEOUT,
    GuestError,
    check,
    run,
)

#: The programs that the tests need on the host, and their Debian packages.
_REQUIRED_PROGRAMS = {"lxc-start": "lxc", "curl": "curl", "setpriv": "util-linux"}

#: The directories of the host that are mounted in each container.
HOST_DIRECTORIES = ["usr", "bin", "lib", "lib64", "etc"]

#: All directories in the root of a container.
ROOT_DIRECTORIES = [
    *HOST_DIRECTORIES,
    "dev",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "var/tmp",
]

#: The program of the init: runs each command that it receives as its child.
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


def missing_requirement(programs: Mapping[str, str] | None = None) -> str | None:
    """Return what this host lacks to run containers, or ``None``.

    :param programs: further programs that are needed, and their Debian packages.
    """
    if os.geteuid() != 0:
        return "needs root"
    for program, package in {**_REQUIRED_PROGRAMS, **(programs or {})}.items():
        if shutil.which(program) is None:
            return f"needs {program} (Debian: apt-get install {package})"
    return None


@frozen
class LXCContainer:
    """An LXC container.

    :ivar name: its name in LXC.
    :ivar home: LXC's directory of containers (its ``lxcpath``).
    :ivar host_id: the uid and gid of its root on the host; 0 for a privileged
        container.
    :ivar binds: the bind mounts: directories of the host, and their paths in the
        container without the first slash.
    :ivar program: the Python program that is its init.
    """

    name: str
    home: Path
    host_id: int = 0
    binds: Mapping[Path, str] = field(factory=dict)
    program: str = INIT

    def start(self) -> None:
        """Create and start the container, and wait until its init runs commands.

        :raises GuestError: if it does not start; contains LXC's log.
        """
        self.create()
        self.boot()

    def boot(self) -> None:
        """Start the created, or shut down, container.

        :raises GuestError: if it does not start; contains LXC's log.
        """
        # That of an earlier init.
        (self._path / "init" / "sock").unlink(missing_ok=True)
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

    def create(self) -> None:
        """Create the container without starting it."""
        rootfs = self._path / "rootfs"
        init = self._path / "init"
        for directory in ROOT_DIRECTORIES:
            (rootfs / directory).mkdir(parents=True)
        init.mkdir()
        (init / "init.py").write_text(self.program)
        owner = self._owner()
        for path in (init, rootfs, *rootfs.rglob("*")):
            os.chown(path, owner, owner)
        (self._path / "config").write_text(self._config(rootfs, init))

    def shut_down(self) -> None:
        """Stop the container."""
        self._lxc("stop", "-k")

    def stop(self) -> None:
        """Stop and remove the container."""
        self.shut_down()
        self.remove()

    def remove(self) -> None:
        """Remove the stopped container."""
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
        """Run a command as `run` does, also in a container that LXC does not know.

        :param init: the directory of the init's socket.
        """
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

    def _owner(self) -> int:
        """Return the uid of the container's root on the host of the tests."""
        return self.host_id

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
        for name in HOST_DIRECTORIES:
            entry = f"/{name} {name} none bind,ro,create=dir 0 0"
            lines.append(f"lxc.mount.entry = {entry}")
        for host, guest in self.binds.items():
            mode = "ro," if guest.startswith("dev/") else ""
            entry = f"{host} {guest} none bind,{mode}create=dir 0 0"
            lines.append(f"lxc.mount.entry = {entry}")
        return "\n".join(lines) + "\n"


def unique_name(word: str) -> str:
    """Return a unique container name that ends with ``word``."""
    return f"devlxd-{secrets.token_hex(3)}-{word}"


def cgroup_hierarchies() -> list[Path]:
    """Return one mount point of each cgroup hierarchy."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    tops = [Path(m[1]) for m in mounts if m[2] in ("cgroup", "cgroup2")]
    return list({top.stat().st_dev: top for top in tops}.values())


def make_home() -> Path:
    """Create a temporary directory that every user may traverse."""
    home = Path(tempfile.mkdtemp(prefix="devlxd-"))
    home.chmod(0o755)
    return home
