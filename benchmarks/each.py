"""Measure what a socket for each of 10 000 containers costs, beside one for all.

A real ``twistd devlxd`` reads a directory with one document per container, once with
one socket for all containers, and once with ``--listen each:DIR``. It prints

* the processor time from the start until all containers are loaded, and, with
  ``each:``, have their socket;
* the resident memory then, and what each socket adds;
* the open files;
* the processor time and the real time for a question on a connection that stays open,
  and on a new one.

Callers are not identified (``--assume``). It needs 20 000 file descriptors, and no
root. Run it in a checkout with ``python -m benchmarks.each``; with ``--checkout DIR``
another checkout that has ``each:`` is measured in turn with this one.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from benchmarks.directory import DOCUMENT
from benchmarks.serving import (
    checkouts,
    cpu_seconds,
    environment_for,
    in_turns,
    make_parser,
    open_files,
    print_row,
)
from tests.integration.lxc import make_home
from tests.integration.processes import TIMEOUT
from tests.integration.servers import TWISTD, ServerProcess

CONTAINERS = 10_000

QUICK_CONTAINERS = 1_000

ROUNDS = 3

QUICK_ROUNDS = 1

#: How many questions are asked for one value.
QUESTIONS = 2_000

#: The container that asks.
ASKING = "c0"

REQUEST = b"GET /1.0/config/user.value HTTP/1.1\r\nHost: lxd\r\n\r\n"

#: How the server listens: the option, the socket of the asking container in the
#: directory of the option, and what it logs when all is there.
HOW = {
    "each": ("each:", f"{ASKING}/sock", "have a socket of their own"),
    "shared": ("", "sock", "containers are loaded"),
}


@frozen
class Server:
    """A way to listen of a checkout, with one document for each container."""

    how: str
    checkout: Path
    documents: Path


def measure(server: Server) -> dict[str, float]:
    """Start a devlxd, and measure it."""
    prefix, path, ready = HOW[server.how]
    home = make_home()
    sockets = home / "sockets"
    sockets.mkdir()
    began = time.perf_counter()
    devlxd = ServerProcess(
        *(TWISTD, "-n", "--pidfile=", "devlxd", f"--listen=lxd={prefix}{sockets}"),
        *(f"--state={home}/state", f"--assume={ASKING}", f"--images={home}"),
        f"--containers={server.documents}",
        environment=environment_for(server.checkout),
    )
    try:
        devlxd.wait_for(ready)
        found = {
            "start": time.perf_counter() - began,
            "start_cpu": cpu_seconds(devlxd.pid),
            "memory": devlxd.memory() / 1024,
            "files": float(open_files(devlxd.pid)),
        }
        address = str(sockets / path)
        for kind, ask in (("kept", ask_kept), ("new", ask_new)):
            ask(address, QUESTIONS // 10)
            before, times = cpu_seconds(devlxd.pid), ask(address, QUESTIONS)
            used = cpu_seconds(devlxd.pid) - before
            found[kind] = statistics.median(times) * 1e6
            found[f"{kind}_cpu"] = used / len(times) * 1e6
        return found
    finally:
        devlxd.stop()
        shutil.rmtree(home)


def ask_kept(address: str, count: int) -> list[float]:
    """Ask on one connection; return the time of each question in seconds."""
    with connected(address) as connection:
        return [timed(lambda: ask_on(connection)) for _ in range(count)]


def ask_new(address: str, count: int) -> list[float]:
    """Ask on a new connection each time; return the times in seconds."""

    def ask() -> None:
        with connected(address) as connection:
            ask_on(connection)

    return [timed(ask) for _ in range(count)]


def ask_on(connection: socket.socket) -> None:
    """Send the request, and read the response."""
    connection.sendall(REQUEST)
    response = connection.recv(4096)
    if not response.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"devlxd has refused a request: {response!r}")


def connected(address: str) -> socket.socket:
    """Return a new connection."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT)
    connection.connect(address)
    return connection


def timed(work: Callable[[], None]) -> float:
    """Return how long a call takes, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def servers(options: Namespace, documents: Path) -> Mapping[str, Server]:
    """Return the servers to measure, by name: the first is ``each``."""
    return {
        f"{how} {name}": Server(how, checkout, documents)
        for name, checkout in checkouts(options.checkout).items()
        for how in HOW
    }


def main() -> None:
    """Measure, and print the results."""
    options = make_parser(__doc__).parse_args()
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    containers = QUICK_CONTAINERS if options.quick else CONTAINERS
    documents = make_home()
    try:
        for n in range(containers):
            (documents / f"c{n}.yaml").write_text(DOCUMENT.format(n=n, value=0))
        found = in_turns(servers(options, documents), rounds, measure)
    finally:
        shutil.rmtree(documents)
    print(f"{containers} containers")
    for what, field, unit, digits in (
        ("start until all is there", "start", "s", 2),
        ("processor time of the start", "start_cpu", "s", 2),
        ("resident memory", "memory", "MiB", 1),
        ("open files", "files", "", 0),
        ("question, kept connection", "kept", "us median", 0),
        ("its processor time", "kept_cpu", "us", 0),
        ("question, new connection", "new", "us median", 0),
        ("its processor time", "new_cpu", "us", 0),
    ):
        rows = {name: [one[field] for one in all_] for name, all_ in found.items()}
        print_row(what, rows, unit, digits)
    first, second, *_ = found.values()
    extra = statistics.median(
        one["memory"] - other["memory"]
        for one, other in zip(first, second, strict=True)
    )
    print(f"{'resident memory for each socket':36} {extra * 1024 / containers:.2f} KiB")


if __name__ == "__main__":
    main()
