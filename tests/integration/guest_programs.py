"""Python programs that tests run in guests, and the barrier at which they wait."""

from __future__ import annotations

import socket
import struct
import textwrap
from pathlib import Path

from tests.integration.processes import TIMEOUT

#: The start of every program in a guest: functions that send requests, and
#: ``arrive``, which connects to the test's `Barrier`.
PRELUDE = """
import os, socket, sys

def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(SOCKET)
    return connection

GET_SECRET = b"GET /1.0/config/user.secret HTTP/1.0\\r\\n\\r\\n"

# The connection stays open after the response, which ends with "]" and a newline.
GET_PATHS = b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"

def send_request(connection, request=GET_SECRET, end=None):
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

#: The start of a program that subscribes to events: sets ``host``, and ``lines``, an
#: iterator of the lines that devlxd sends. The arguments of the program are the name
#: of the container and the path of the socket.
SUBSCRIPTION = """
    from http.client import HTTPConnection
    name, path = sys.argv[1:]
    events = HTTPConnection("unix")
    events.sock = socket.socket(socket.AF_UNIX)
    events.sock.connect(path)
    events.request("GET", "/1.0/events")
    lines = iter(events.getresponse().readline, b"")
    host = arrive(name.encode())
"""


def python(program: str, *arguments: str, socket: str = "/dev/lxd/sock") -> list[str]:
    """Return the command that runs a Python program in a guest.

    :param program: its text after `PRELUDE`; may be indented.
    :param socket: the path that its ``connect()`` connects to.
    """
    head = f"SOCKET = {socket!r}\n{PRELUDE}"
    return ["python3", "-c", head + textwrap.dedent(program), *arguments]


class Barrier:
    """A barrier at which programs in guests wait for the test.

    :param directory: the directory that is ``/run/shared`` in the guests.
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
        """Close all connections; a program that waits on one reads its end."""
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
