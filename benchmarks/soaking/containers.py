"""Containers in which an agent opens connections for the soak.

The kernel records the process that called ``connect()`` as the peer of a connection.
An agent in the container therefore only connects, and passes the connection to the
soak, which knows what is right. There are real LXC containers, and cheap ones: a
process in a pid namespace of its own, in a cgroup that systemd-nspawn would make.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from benchmarks.soaking.client import PATIENCE, Client
from tests.integration.lxc import LXCContainer

#: How many connections an agent passes at a time (the kernel allows 253).
BATCH = 100

#: The program of an agent. Its arguments: the path of the soak's socket, and the name
#: of the container. An order is a JSON object: how many connections to open, and to
#: which socket; or as which user a new process opens one. That process ends when the
#: soak closes the pipe that is passed with the connection.
AGENT = f"""
import json, os, signal, socket, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
host = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
host.connect(sys.argv[1])
host.sendall(sys.argv[2].encode())

def connect(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection

def obey_in_child(path, uid):
    reader, writer = os.pipe()
    try:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        with connect(path) as one:
            socket.send_fds(host, [b"one"], [one.fileno(), writer])
        os.close(writer)
        os.read(reader, 1)
    except OSError as error:
        host.sendall(repr(error).encode())

def obey(count, path):
    try:
        while count:
            some = [connect(path) for _ in range(min(count, {BATCH}))]
            count -= len(some)
            socket.send_fds(host, [b"some"], [one.fileno() for one in some])
            for one in some:
                one.close()
    except OSError as error:
        host.sendall(repr(error).encode())

while order := host.recv(4096):
    order = json.loads(order)
    if "uid" not in order:
        obey(**order)
    elif os.fork() == 0:
        try:
            obey_in_child(**order)
        finally:
            os._exit(0)
"""

#: Makes an agent the init of an LXC container: `LXCContainer.boot` waits for a socket.
LXC_AGENT = """
import socket, sys
ready = socket.socket(socket.AF_UNIX)
ready.bind("/run/init/sock")
sys.argv[1:] = ["/run/shared/agents", NAME]
"""


class Machine(Protocol):
    """Something that can run an agent.

    :ivar sockets: the paths of devlxd's sockets in the container, by dialect.
    """

    sockets: dict[str, str]

    def start(self, name: str) -> None:
        """Start the container; its agent arrives as ``name``."""

    def stop(self) -> None:
        """Stop the container, which may not run; it can be started again."""

    def remove(self) -> None:
        """Stop and remove the container."""


class CheapMachine:
    """A process that is the init of a pid namespace in a cgroup of its own."""

    def __init__(self, home: Path, hierarchy: Path) -> None:
        self.sockets = {name: f"{home}/{name}/sock" for name in ("lxd", "lxd6")}
        self._agents = home / "shared" / "agents"
        self._hierarchy = hierarchy
        self._cgroup: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, name: str) -> None:
        """See `Machine.start`."""
        scope = f"machine-{name.replace('-', chr(92) + 'x2d')}.scope"
        self._cgroup = self._hierarchy / "machine.slice" / scope
        self._cgroup.mkdir(parents=True, exist_ok=True)
        script = 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"'
        init = [sys.executable, "-I", "-S", "-c", AGENT, str(self._agents), name]
        unshare = ["unshare", "--pid", "--fork", "--kill-child"]
        self._process = subprocess.Popen(
            ["sh", "-c", script, "-", str(self._cgroup), *unshare, *init],
            stdin=subprocess.DEVNULL,
            # The traceback of an agent whose soak has ended is no news.
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        """See `Machine.stop`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._cgroup is not None:
            # Its init is killed soon after unshare(1).
            for _ in range(200):
                with suppress(OSError):
                    self._cgroup.rmdir()
                    break
                subprocess.run(["sleep", "0.05"], check=True)
            self._cgroup = None

    remove = stop


class LXCMachine:
    """A real LXC container, unprivileged.

    :param name: its name, which is always the same.
    """

    def __init__(self, name: str, home: Path) -> None:
        self.sockets = {name: f"/dev/{name}/sock" for name in ("lxd", "lxd6")}
        binds = {home / name: f"dev/{name}" for name in ("lxd", "lxd6")}
        program = f"NAME = {name!r}\n{LXC_AGENT}{AGENT}"
        self._container = LXCContainer(
            name, home, 100_000, {**binds, home / "shared": "run/shared"}, program
        )
        self._is_created = self._runs = False

    def start(self, name: str) -> None:
        """See `Machine.start`."""
        if not self._is_created:
            self._container.create()
            self._is_created = True
        self._container.boot()
        self._runs = True

    def stop(self) -> None:
        """See `Machine.stop`."""
        if self._runs:
            self._container.shut_down()
            self._runs = False

    def remove(self) -> None:
        """See `Machine.remove`."""
        self.stop()
        if self._is_created:
            self._container.remove()
            self._is_created = False


class Agents:
    """The socket at which agents arrive.

    :param path: the path of the socket.
    """

    def __init__(self, path: Path) -> None:
        self._arrivals: dict[str, asyncio.Future[socket.socket]] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        path.chmod(0o666)
        self._socket.listen(100)
        self._socket.setblocking(False)

    async def serve(self) -> None:
        """Accept agents, until this is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            agent, _ = await loop.sock_accept(self._socket)
            agent.setblocking(False)
            name = (await loop.sock_recv(agent, 200)).decode()
            arrival = self._arrivals.pop(name, None)
            if arrival is None or arrival.done():
                agent.close()
            else:
                arrival.set_result(agent)

    def expect(self, name: str) -> asyncio.Future[socket.socket]:
        """Return a future for the connection of the next agent called ``name``."""
        self._arrivals[name] = asyncio.get_running_loop().create_future()
        return self._arrivals[name]

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


class Guest:
    """A container with a name, and its agent.

    :ivar epoch: increases when the container is stopped or its document removed.
    :ivar is_up: whether the container runs and devlxd answers it.
    """

    def __init__(self, name: str, machine: Machine, agents: Agents) -> None:
        self.name = name
        self.epoch = 0
        self.is_up = False
        self._machine = machine
        # A thread goes on when the task that waits for it is cancelled.
        self._machine_turn = threading.Lock()
        self._agents = agents
        self._agent: socket.socket | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Start the container, and wait for its agent."""
        arrival = self._agents.expect(self.name)
        await asyncio.to_thread(self._start_machine)
        self._agent = await asyncio.wait_for(arrival, PATIENCE)

    def _start_machine(self) -> None:
        with self._machine_turn:
            self._machine.start(self.name)

    def _stop_machine(self) -> None:
        with self._machine_turn:
            self._machine.stop()

    def go_down(self) -> None:
        """Note that connections may be closed and refused from now on."""
        self.is_up = False
        self.epoch += 1

    async def stop(self) -> None:
        """Stop the container."""
        self.go_down()
        await asyncio.to_thread(self._stop_machine)
        # An order has failed then.
        async with self._turn:
            if self._agent is not None:
                self._agent.close()
                self._agent = None

    def remove(self) -> None:
        """Stop and remove the container."""
        with self._machine_turn:
            self._machine.remove()
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    async def connect(
        self, dialect: str = "lxd", uid: int | None = None, limit: int = 65536
    ) -> Client:
        """Open a connection in the container.

        :param uid: the user of a new process that opens it; default: the init does.
        :param limit: see `Client.on`.
        """
        order: dict[str, object] = {"path": self._machine.sockets[dialect]}
        order |= {"count": 1} if uid is None else {"uid": uid}
        number, *pipe = await self._pass(order)
        client = await Client.on(socket.socket(fileno=number), limit)
        client.to_close.extend(pipe)
        return client

    async def open(self, count: int) -> list[socket.socket]:
        """Open connections in the container.

        :raises ConnectionError: if the container does not run, or they are refused.
        """
        path = self._machine.sockets["lxd"]
        numbers = await self._pass({"path": path, "count": count}, count)
        return [socket.socket(fileno=number) for number in numbers]

    async def _pass(self, order: dict[str, object], count: int = 1) -> list[int]:
        """Send an order; return at least ``count`` descriptors."""
        passed: list[int] = []
        async with self._turn:
            agent = self._agent
            if agent is None:
                raise ConnectionError("the container does not run")
            try:
                agent.sendall(json.dumps(order).encode())
                while len(passed) < count:
                    passed += await asyncio.wait_for(_receive(agent), PATIENCE)
            except ConnectionError:
                _close(passed)
                raise
            except BaseException:
                # The answer to this order must not be taken for that to a later one.
                agent.close()
                self._agent = None
                _close(passed)
                raise
        return passed


def _close(numbers: list[int]) -> None:
    for number in numbers:
        os.close(number)


async def _receive(agent: socket.socket) -> list[int]:
    """Receive the next descriptors from an agent."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(agent, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(agent)
    data, numbers, _flags, _address = socket.recv_fds(agent, 200, BATCH)
    if not numbers:
        raise ConnectionError(data.decode() or "the container has stopped")
    return numbers


def unified_hierarchy() -> Path:
    """Return the mount point of the cgroup hierarchy of version 2."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in mounts:
        if mount[2] == "cgroup2":
            return Path(mount[1])
    raise SystemExit("needs a cgroup hierarchy of version 2")
