"""Containers whose connections a test uses itself."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from benchmarks.soaking.containers import Machine
from tests.integration.guest_listener import Connect
from tests.integration.processes import TIMEOUT, GuestError


class GuestAgents:
    """The socket at which agents in containers arrive.

    :param home: the directory of the sockets, as for `CheapMachine`.
    """

    def __init__(self, home: Path) -> None:
        shared = home / "shared"
        shared.mkdir()
        shared.chmod(0o777)
        path = shared / "agents"
        self._agents: dict[str, socket.socket] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        path.chmod(0o666)
        self._socket.listen(100)
        self._socket.settimeout(TIMEOUT)

    def close(self) -> None:
        """Close all connections to agents: they end."""
        for agent in self._agents.values():
            agent.close()
        self._socket.close()

    def agent(self, name: str) -> socket.socket:
        """Wait for the agent of a container that was started; return its socket."""
        while name not in self._agents:
            agent, _ = self._socket.accept()
            agent.settimeout(TIMEOUT)
            self._agents[agent.recv(200).decode()] = agent
        return self._agents[name]

    def connecting(self, name: str, machine: Machine) -> Connect:
        """Return what connects to devlxd in a container."""
        order = json.dumps({"path": machine.sockets["lxd"], "count": 1}).encode()

        def connect() -> socket.socket:
            agent = self.agent(name)
            agent.sendall(order)
            said, numbers, _flags, _address = socket.recv_fds(agent, 200, 1)
            if not numbers:
                raise GuestError(f"{name} cannot connect: {said!r}")
            connection = socket.socket(fileno=numbers[0])
            connection.settimeout(TIMEOUT)
            return connection

        return connect
