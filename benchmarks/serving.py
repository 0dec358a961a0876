"""What the benchmarks share: which checkout of devlxd is served, and listeners."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.integration.lxc import TIMEOUT, DevLXD, make_home

#: The checkout that the benchmarks are in.
HERE = Path(__file__).resolve().parents[1]

S = TypeVar("S")
T = TypeVar("T")

#: What the servers of this checkout and of another one are called.
AFTER = "devlxd"
BEFORE = "before"

#: How to ask for events, but for the end of the head.
LINES = b"GET /1.0/events HTTP/1.1\r\nHost: lxd\r\n"
WEBSOCKET = (
    LINES + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
    b"\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)

#: Both ways to listen, by name.
LISTENERS = {"lines": LINES, "websocket": WEBSOCKET}


def use(checkout: Path) -> None:
    """Let each devlxd that is started from now on be that of ``checkout``."""
    os.environ["PYTHONPATH"] = str(checkout.resolve())


def served_option(parser: ArgumentParser) -> None:
    """Add the option that says which checkout is served."""
    text = "the checkout of devlxd that is served; default: this one"
    parser.add_argument("--checkout", type=Path, default=HERE, metavar="DIR", help=text)


def compared(description: str | None) -> dict[str, Path]:
    """Read a command line; return the checkouts to serve in turns, by name."""
    parser = ArgumentParser(description=(description or "").partition("\n")[0])
    text = "an older checkout of devlxd that is served in turns with this one"
    parser.add_argument("--checkout", type=Path, metavar="DIR", help=text)
    older = parser.parse_args().checkout
    return {AFTER: HERE} | ({BEFORE: older} if older else {})


class Host:
    """A devlxd that takes whoever asks for the one container that there is.

    :param checkout: of the devlxd.
    :ivar document: the container's document.
    :ivar state: where devlxd keeps its journal.
    :ivar devlxd: its process.
    """

    def __init__(self, checkout: Path) -> None:
        self._home = make_home()
        documents, sockets = self._home / "documents", self._home / "sockets"
        self.state = self._home / "state"
        for path in (documents, sockets, self.state):
            path.mkdir()
        self.document = documents / "c1.json"
        self.write({})
        use(checkout)
        self.devlxd = DevLXD(
            "--assume=c1",
            f"--containers={documents}",
            f"--listen={sockets}",
            f"--state={self.state}",
        )
        self._address = str(sockets / "sock")

    def write(self, config: Mapping[str, str]) -> None:
        """Replace the document."""
        new = self._home / "new"
        new.write_text(json.dumps({"config": config}))
        new.rename(self.document)

    def connect(self) -> socket.socket:
        """Open a connection."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT)
        connection.connect(self._address)
        return connection

    def listen(self, request: bytes) -> socket.socket:
        """Return a connection on which the events come next."""
        connection = self.connect()
        connection.sendall(request + b"\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                raise SystemExit(f"devlxd has no events: {head!r}")
            head += byte
        return connection

    def stop(self) -> None:
        """Stop devlxd, and remove all."""
        self.devlxd.stop()
        shutil.rmtree(self._home)


def wait_for_events(connection: socket.socket, count: int = 1) -> None:
    """Read ``count`` events: each ends with a brace and a newline."""
    end, data = b"", b"}"
    while count > 0:
        data = connection.recv(1 << 20)
        if not data:
            raise SystemExit("devlxd closed a connection that listens")
        count -= (end + data).count(b"}\n")
        end = data[-1:]


def in_turns(
    servers: Mapping[str, S], rounds: int, measure: Callable[[S], T]
) -> dict[str, list[T]]:
    """Measure each server in each round, now this one first and now that."""
    found: dict[str, list[T]] = {name: [] for name in servers}
    for number in range(rounds):
        turns = list(servers.items())
        for name, server in turns if number % 2 else reversed(turns):
            found[name].append(measure(server))
    return found


def cpu_seconds(pid: int) -> float:
    """Return for how long a process has run on a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(pid: int) -> int:
    """Count the open files of a process, connections included."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def percentile(times: Sequence[float], percent: float) -> float:
    """Return the value that ``percent`` of some values do not exceed."""
    return sorted(times)[min(int(len(times) * percent / 100), len(times) - 1)]


def paired(found: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the ratio of the first to each other, as the median of the rounds.

    Each round is a pair: what else the machine does hits both.
    """
    (_, first), *others = found.items()
    return [
        f"{statistics.median(a / b for a, b in zip(first, other, strict=True)):.2f}"
        f" times {name}"
        for name, other in others
    ]
