"""Servers that a section compares, each with the container that asks it."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack

from attrs import frozen

from benchmarks.context import LXD, Context, Running, start_plain
from benchmarks.places import Client, Place
from tests.integration.processes import check

#: The names of the servers of Twisted in tables.
PROTOCOL, SITE = "bare Protocol", "bare Site"

#: The path of the value that is requested in all of them.
TARGET = "/1.0/config/user.foo"

#: The socket of an LXD in its containers.
LXD_SOCKET = "/dev/lxd/sock"


@frozen
class Server:
    """A server, and the container of the clients that it is measured with.

    :ivar socket: the path of its socket in the container.
    :ivar place: the container.
    :ivar running: the process; ``None`` for LXD.
    """

    socket: str
    place: Place
    running: Running | None = None

    def run(self, *command: str) -> str:
        """Run a command in the container; return its output.

        :raises GuestError: if it fails.
        """
        words = self.place.command(*command)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return check(command, done.returncode, done.stdout + done.stderr)

    def cpu(self) -> float:
        """Return the processor time of the server, in seconds; 0 if unknown."""
        return self.running.cpu() if self.running else 0.0


def twisted_servers(
    context: Context, started: ExitStack, devlxd: Server
) -> dict[str, Server]:
    """Start the servers of Twisted that send what a devlxd sends."""
    with Client(devlxd.place, "ask", path=devlxd.socket, target=TARGET) as client:
        response = client.receive()
    if not response.startswith("HTTP/1.1 200"):
        raise SystemExit(f"devlxd does not answer: {response}")
    found = {}
    for name, kind in ((PROTOCOL, "protocol"), (SITE, "site")):
        running = start_plain(started, kind, context.directory(kind), response)
        found[name] = Server(running.socket, devlxd.place, running)
    return found


def lxd_server(context: Context) -> dict[str, Server]:
    """Return the LXD, in a mapping; an empty one if there is no LXD."""
    host = context.lxd()
    if host is None:
        return {}
    return {LXD: Server(LXD_SOCKET, host.places[0])}
