"""What the sections of ``python -m benchmarks`` have in common."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from attrs import define, field

from benchmarks.figures import Measured
from benchmarks.places import CONFIG, LXDHost, SimulatedPlace
from benchmarks.serving import AFTER, BEFORE, CheckoutServer
from devlxd.fast_paths import VARIABLE
from tests.integration.lxc import missing_requirement
from tests.integration.lxd import missing_lxd
from tests.integration.processes import TIMEOUT, Output, start, wait_until
from tests.integration.servers import TWISTD

#: The program of servers to compare with; importing it would install a reactor.
PLAIN_SERVERS = Path(__file__).with_name("plain_servers.py")

#: The name of LXD in tables.
LXD = "LXD"

S = TypeVar("S")
T = TypeVar("T")

#: The processor time of a process that has nothing to do, in seconds per second.
_IDLE = 0.05

#: The config of every container, besides what its section adds.
_USUAL = {
    "limits.cpu": "2",
    "limits.memory": "2GiB",
    "volatile.idmap.current": json.dumps(
        [
            {"Isuid": True, "Isgid": False, "Hostid": 0, "Nsid": 0, "Maprange": 65536},
            {"Isuid": False, "Isgid": True, "Hostid": 0, "Nsid": 0, "Maprange": 65536},
        ]
    ),
}

_DEVICES = {
    "eth0": {"type": "nic", "nictype": "ipvlan", "parent": "eth0"},
    "root": {"type": "disk", "path": "/", "pool": "default"},
}


@define
class Context:
    """The options of a run, and the servers that several sections use.

    :ivar is_quick: whether to measure less.
    :ivar checkouts: the measured checkouts, by name; the first is this one.
    :ivar home: a directory for all files.
    :ivar started: stops what all sections use.
    :ivar cgroups: the places that were made.
    """

    is_quick: bool
    checkouts: Mapping[str, Path]
    home: Path
    started: ExitStack
    _lxd: LXDHost | None = None
    _lxd_problem: str | None = None
    _numbers: list[int] = field(factory=lambda: [0])

    @property
    def many(self) -> int:
        """How many containers a large host has."""
        return 1_000 if self.is_quick else 10_000

    def rounds(self, count: int) -> int:
        """Return how often to measure, if ``count`` is right for a whole run."""
        return min(count, 2) if self.is_quick else count

    def directory(self, word: str) -> Path:
        """Return a new directory."""
        self._numbers[0] += 1
        path = self.home / f"{word}-{self._numbers[0]}"
        path.mkdir()
        return path

    def place(self, word: str, started: ExitStack) -> SimulatedPlace:
        """Return a new simulated container, which is removed with ``started``."""
        self._numbers[0] += 1
        place = SimulatedPlace(f"{word}{os.getpid()}n{self._numbers[0]}")
        started.callback(place.remove)
        return place

    def shared(self, name: str) -> Path:
        """Return the directory that the LXD's containers have as ``/dev/{name}``."""
        path = self.home / name
        path.mkdir(exist_ok=True)
        return path

    def lxd(self) -> LXDHost | None:
        """Return the LXD with its containers; ``None`` if there is none."""
        if self._lxd is None and self._lxd_problem is None:
            self._lxd_problem = missing_lxd()
            if self._lxd_problem is None:
                self._start_lxd()
        return self._lxd

    def _start_lxd(self) -> None:
        sockets = {name: self.shared(name) for name in (AFTER, BEFORE)}
        host = LXDHost(self.home, sockets, count=4 if self.is_quick else 16)
        try:
            host.start()
        except Exception as error:
            self._lxd_problem = f"LXD did not start: {error}"
            return
        self.started.callback(host.stop)
        self._lxd = host

    def try_again(self, measure: Callable[[S], T], server: S) -> T:
        """Measure a server; measure again if LXD has crashed meanwhile."""
        if self._lxd is None:
            return measure(server)
        return self._lxd.try_again(lambda: measure(server))

    def missing(self) -> list[str]:
        """Return why figures of LXD are missing, as `Measured.missing`."""
        if self._lxd_problem:
            return [f"LXD: {self._lxd_problem}"]
        if self._lxd and self._lxd.crashes:
            return [
                f"what LXD did before it crashed ({self._lxd.crashes} times so far)"
            ]
        return []


#: Measures some servers beside devlxd.
Section = Callable[[Context], Measured]


def write_documents(directory: Path, names: Sequence[str]) -> None:
    """Write a document for each container, as JSON."""
    for name in names:
        write_document(directory, name)


def write_document(directory: Path, name: str, **config: str) -> None:
    """Replace one document.

    :param config: further keys, without ``user.``.
    """
    added = {f"user.{key}": value for key, value in config.items()}
    document = {"config": {**_USUAL, **CONFIG, **added}, "devices": _DEVICES}
    new = directory / f".{name}.new"
    new.write_text(json.dumps(document))
    # Others must not read user-data, else devlxd logs a warning.
    new.chmod(0o640)
    new.rename(directory / f"{name}.json")


class Running:
    """A running server.

    :param pid: returns the id of its process, which may be started again.
    :ivar socket: the path of its socket.
    """

    def __init__(self, socket: str, pid: Callable[[], int]) -> None:
        self.socket = socket
        self._pid = pid

    @property
    def pid(self) -> int:
        """The id of its process now."""
        return self._pid()

    def cpu(self) -> float:
        """Return the processor time of the process, in seconds."""
        # The clock of another process, see clock_getcpuclockid(3).
        return time.clock_gettime((~self.pid << 3) | 2)

    def memory(self) -> int:
        """Return the resident memory of the process, in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def wait_until_idle(self) -> None:
        """Wait until the process has nothing to do: it has read all documents."""
        wait_until(self._is_idle, f"the server at {self.socket} is idle")

    def _is_idle(self) -> bool:
        before = self.cpu()
        time.sleep(0.3)
        return self.cpu() - before < 0.3 * _IDLE


def start_devlxd(
    started: ExitStack,
    checkout: Path,
    sockets: Path,
    documents: Path,
    *arguments: str,
    dialect: str = "lxd",
    slow: str = "",
) -> Running:
    """Start a devlxd, which is stopped with ``started``.

    :param slow: the fast paths that it does not use.
    """
    server = CheckoutServer(
        checkout,
        sockets,
        f"--containers={documents}",
        *arguments,
        dialect=dialect,
        twistd=("env", f"{VARIABLE}={slow}", TWISTD),
    )
    started.callback(server.stop)
    return Running(f"{sockets}/sock", lambda: server.pid)


def start_plain(
    started: ExitStack, kind: str, sockets: Path, response: str = ""
) -> Running:
    """Start one of the servers of `PLAIN_SERVERS`, stopped with ``started``.

    :param response: the response of a ``protocol``, as Latin-1.
    """
    file = sockets / "response"
    file.write_bytes(response.encode("latin-1"))
    output = Output(kind)
    program = (sys.executable, str(PLAIN_SERVERS))
    path = f"{sockets}/sock"
    process = start(*program, kind, path, str(file), output=output)
    started.callback(process.wait, TIMEOUT)
    started.callback(process.kill)
    wait_until(lambda: "ready" in output.text(), f"{kind} listens")
    return Running(path, lambda: process.pid)


def missing_for_containers() -> str | None:
    """Return what this host lacks to simulate containers, or ``None``."""
    return missing_requirement()
