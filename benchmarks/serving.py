"""Servers of two checkouts, measurements and output, for all benchmarks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tests.integration.lxc import make_home
from tests.integration.processes import TIMEOUT, wait_until
from tests.integration.servers import TWISTD, ServerProcess

#: The checkout that contains the benchmarks.
HERE = Path(__file__).resolve().parents[1]

S = TypeVar("S")
T = TypeVar("T")

#: The names of this checkout and of the one it is compared with.
AFTER = "devlxd"
BEFORE = "before"

#: The head of a request for events, without the empty line at its end.
LINES = b"GET /1.0/events HTTP/1.1\r\nHost: lxd\r\n"
WEBSOCKET = (
    LINES + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
    b"\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)

#: Both ways to subscribe to events, by name.
SUBSCRIPTIONS = {"lines": LINES, "websocket": WEBSOCKET}


def make_parser(description: str | None) -> ArgumentParser:
    """Return a parser with the options of every benchmark.

    :param description: the benchmark's docstring; its first line is shown.
    """
    parser = ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument(
        "--checkout",
        type=_checkout,
        metavar="DIR",
        help="another checkout of devlxd, measured in turn with this one",
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure less, for a first impression"
    )
    return parser


def _checkout(text: str) -> Path:
    path = Path(text).resolve()
    if not (path / "devlxd" / "__init__.py").exists():
        raise SystemExit(f"{path}: not a checkout of devlxd")
    return path


def checkouts(other: Path | None) -> dict[str, Path]:
    """Return the checkouts to measure, by name.

    :param other: the value of ``--checkout``.
    """
    return {AFTER: HERE} | ({BEFORE: other} if other else {})


def environment_for(checkout: Path) -> dict[str, str]:
    """Return the environment in which Python imports the devlxd of ``checkout``."""
    return {**os.environ, "PYTHONPATH": str(checkout)}


class CheckoutServer(ServerProcess):
    """A ``twistd devlxd`` of a checkout; it listens when the constructor returns.

    The constructor waits for the socket, not for a log line: the wording of the
    log may differ between checkouts.

    :param checkout: the directory of the checkout.
    :param sockets: the directory for its socket.
    :param arguments: further options of ``twistd devlxd``.
    :param state: the directory for its journal; default: a temporary one.
    :param twistd: the command that runs twistd.
    :param dialect: the dialect that it speaks.
    :param container: the container whose socket to wait for, if each container has a
        socket of its own in ``sockets``; default: all have the same.
    """

    def __init__(
        self,
        checkout: Path,
        sockets: Path,
        *arguments: str,
        state: Path | None = None,
        twistd: Sequence[str] = (TWISTD,),
        dialect: str = "lxd",
        container: str = "",
    ) -> None:
        kind = "each:" if container else ""
        self._state = tempfile.TemporaryDirectory(prefix="devlxd-state-")
        super().__init__(
            *(*twistd, "-n", "--pidfile=", "devlxd"),
            f"--listen={dialect}={kind}{sockets}",
            f"--state={state or self._state.name}",
            *arguments,
            endpoints=0,
            environment=environment_for(checkout),
        )
        path = str(sockets / container / "sock")
        wait_until(lambda: self._listens(path), f"devlxd listens on {path}")

    def _listens(self, path: str) -> bool:
        self.check_running()
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.connect(path)
            return True
        return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the process and remove its state; return its exit status."""
        status = super().stop(number)
        self._state.cleanup()
        return status


class OneContainerServer:
    """A devlxd that identifies every caller as root of its only container.

    :param checkout: the checkout that is run.
    :ivar document: the container's document.
    :ivar state: the directory with the journal.
    :ivar devlxd: the process.
    """

    def __init__(self, checkout: Path) -> None:
        self._home = make_home()
        documents, sockets = self._home / "documents", self._home / "sockets"
        self.state = self._home / "state"
        for path in (documents, sockets, self.state):
            path.mkdir()
        self.document = documents / "c1.json"
        self.write({})
        self.devlxd = CheckoutServer(
            checkout,
            sockets,
            "--assume=c1",
            f"--containers={documents}",
            state=self.state,
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

    def subscribe(self, request: bytes) -> socket.socket:
        """Subscribe to events; return the connection after the response's head."""
        connection = self.connect()
        connection.sendall(request + b"\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                raise SystemExit(f"devlxd has refused to send events: {head!r}")
            head += byte
        return connection

    def stop(self) -> None:
        """Stop devlxd and remove its files."""
        self.devlxd.stop()
        shutil.rmtree(self._home)


def wait_for_events(connection: socket.socket, count: int = 1) -> None:
    """Read ``count`` events; each ends with a brace and a newline."""
    end, data = b"", b"}"
    while count > 0:
        data = connection.recv(1 << 20)
        if not data:
            raise SystemExit("devlxd has closed the connection of a subscriber")
        count -= (end + data).count(b"}\n")
        end = data[-1:]


def in_turns(
    servers: Mapping[str, S], rounds: int, measure: Callable[[S], T]
) -> dict[str, list[T]]:
    """Measure each server once in each round.

    The order is reversed from round to round, so that other load of the machine
    affects all servers alike.

    :return: the results of each server, round by round.
    """
    found: dict[str, list[T]] = {name: [] for name in servers}
    for number in range(rounds):
        turns = list(servers.items())
        for name, server in turns if number % 2 else reversed(turns):
            found[name].append(measure(server))
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process in seconds (proc(5), ``stat``)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(pid: int) -> int:
    """Return the number of open files of a process, sockets included."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def percentile(times: Sequence[float], percent: float) -> float:
    """Return one of the times: at least ``percent`` % of all do not exceed it."""
    return sorted(times)[min(int(len(times) * percent / 100), len(times) - 1)]


def print_row(
    what: str, measured: Mapping[str, Sequence[float]], unit: str, digits: int = 1
) -> None:
    """Print the median of each server side by side, and the ratios to the first.

    :param measured: the values of each server, round by round.
    """
    medians = [
        f"{name} {statistics.median(values):10.{digits}f}"
        for name, values in measured.items()
    ]
    print(f"{what:36}", *medians, f"{unit:15}", *_ratios(measured), flush=True)


def _ratios(measured: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the ratio of the first server to each other one.

    It is the median of the ratios of each round: both values of a round are
    affected alike by other load of the machine.
    """
    (_, first), *others = measured.items()
    rounds = {name: zip(first, other, strict=True) for name, other in others}
    return [
        f"({statistics.median(a / b for a, b in pairs):.2f} times {name})"
        for name, pairs in rounds.items()
        if all(measured[name])
    ]
