"""Measure what the operator's socket and its metrics cost each request of a guest.

Two processes of devlxd serve the same container, in turn: one without ``--admin``, and
one with it, which observes all requests, and whose metrics are read every 5 seconds,
more often than by most Prometheus. The speed of two processes of the same program
differs by some percent: each round starts both anew. Needs ``h2load`` and ``curl``
(Debian: ``apt-get install nghttp2-client curl``). Run it in a checkout with ``python -m
benchmarks.metrics``.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.h2load import QUICK_ROUNDS, ROUNDS, request_rates
from benchmarks.serving import (
    HERE,
    CheckoutServer,
    in_turns,
    make_parser,
    print_row,
)
from tests.integration.lxc import make_home

#: The servers, by their names; the others are compared with the first.
WITH, WITHOUT = "with --admin", "without"

PATHS = ("/1.0/config/user.foo", "/1.0", "/1.0/meta-data")

#: How often each server is measured in a round.
TURNS = 2

#: Reads the metrics every 5 seconds; the argument is the operator's socket.
SCRAPE = """
while sleep 5; do
    curl -s --unix-socket "$1" http://devlxd/metrics >/dev/null
done
"""


def _start(name: str, home: Path, started: ExitStack) -> tuple[str, int]:
    """Start one server; return its socket and its pid."""
    directory = home / name.replace(" ", "-")
    directory.mkdir()
    admin = [f"--admin={home}/admin"] if name == WITH else []
    arguments = ["--assume=c1", f"--containers={home}/documents", *admin]
    devlxd = CheckoutServer(HERE, directory, *arguments)
    started.callback(devlxd.stop)
    return f"{directory}/sock", devlxd.pid


def _measure(target: str) -> dict[str, list[float]]:
    """Start both servers; return the requests per CPU second of each, in turns."""
    with ExitStack() as started:
        home = make_home()
        started.callback(shutil.rmtree, home)
        (home / "documents").mkdir()
        (home / "documents" / "c1.yaml").write_text("config: {user.foo: bar}\n")
        servers = {name: _start(name, home, started) for name in (WITH, WITHOUT)}
        scraper = subprocess.Popen(["sh", "-c", SCRAPE, "-", f"{home}/admin/sock"])
        started.callback(scraper.wait)
        started.callback(scraper.kill)
        pairs = in_turns(servers, TURNS, partial(request_rates, target=target))
        return {name: [rate for _, rate in pairs[name]] for name in servers}


def main() -> None:
    """Measure both servers in turn; print the medians and their ratios."""
    options = make_parser(__doc__).parse_args()
    for program, package in (("h2load", "nghttp2-client"), ("curl", "curl")):
        if shutil.which(program) is None:
            raise SystemExit(f"needs {program} (Debian: {package})")
    for path in PATHS:
        rates: dict[str, list[float]] = {WITH: [], WITHOUT: []}
        for _ in range(QUICK_ROUNDS if options.quick else ROUNDS):
            for name, values in _measure(f"http://lxd{path}").items():
                rates[name] += values
        print_row(path, rates, "requests/CPU s")


if __name__ == "__main__":
    main()
