"""Requests per second on connections that stay open, as h2load measures them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import partial

from benchmarks.serving import cpu_seconds, in_turns, print_row

ROUNDS = 8

QUICK_ROUNDS = 4

#: The duration of one measurement, in seconds.
SECONDS = 2


def missing_h2load() -> str | None:
    """Return what is needed, or ``None``."""
    if shutil.which("h2load") is None:
        return "needs h2load (Debian: apt-get install nghttp2-client)"
    return None


def h2load(
    socket: str, target: str, connections: int = 8, seconds: float = SECONDS
) -> list[str]:
    """Return the command that sends requests to a server.

    :param socket: the path of its socket.
    :param target: the URL that is requested.
    """
    command = ["h2load", "--h1", "-B", f"unix:{socket}", f"-c{connections}"]
    return [*command, f"-D{seconds}", target]


def rate_of(output: str) -> float:
    """Return the requests per second that ``h2load`` has printed.

    :raises SystemExit: if a request failed.
    """
    match = re.search(r"([\d.]+) req/s", output)
    if match is None or "0 failed, 0 errored" not in output:
        raise SystemExit(output)
    return float(match[1])


def request_rates(server: tuple[str, int], target: str) -> tuple[float, float]:
    """Send requests to a server, given by its socket and its pid, for `SECONDS`.

    :param target: the URL that is requested.
    :return: requests per second, and per second of its processor time.
    """
    socket, pid = server
    used = cpu_seconds(pid)
    done = subprocess.run(
        h2load(socket, target), capture_output=True, text=True, check=True
    )
    rate = rate_of(done.stdout)
    return rate, rate * SECONDS / (cpu_seconds(pid) - used)


def print_rates(
    title: str, servers: Mapping[str, tuple[str, int]], target: str, is_quick: bool
) -> None:
    """Send requests to all servers in turn; print a row for each unit.

    :param servers: the socket and the pid of each server, by its name.
    :param target: the URL that is requested.
    :param is_quick: whether to measure less.
    """
    rounds = QUICK_ROUNDS if is_quick else ROUNDS
    pairs = in_turns(servers, rounds, partial(request_rates, target=target))
    for number, unit in enumerate(("requests/s", "requests/CPU s")):
        rates = {name: [pair[number] for pair in pairs[name]] for name in servers}
        print_row(title, rates, unit)
