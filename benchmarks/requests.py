"""Measure requests per second of devlxd, compared with a bare Twisted Site.

The servers are measured in turn. Needs ``h2load`` (Debian: ``apt-get install
nghttp2-client``). Run it in a checkout with ``python -m benchmarks.requests``;
with ``--checkout DIR`` the devlxd of another checkout is measured as well.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.serving import (
    checkouts,
    cpu_seconds,
    environment_for,
    in_turns,
    make_parser,
    print_row,
)
from tests.integration.servers import TWISTD

ROUNDS = 8

QUICK_ROUNDS = 4

#: The duration of one measurement, in seconds.
SECONDS = 2

TARGET = "http://lxd/1.0/config/user.foo"

#: The same response at the same path, by twisted.web alone; its log is a file.
BARE = """
import sys
from twisted.internet import reactor
from twisted.python import log
from twisted.web import resource, server, static

root = resource.Resource()
version, config = resource.Resource(), resource.Resource()
root.putChild(b"1.0", version)
version.putChild(b"config", config)
config.putChild(b"user.foo", static.Data(b"bar", "text/plain; charset=utf-8"))
log.startLogging(open(sys.argv[2], "w"))
reactor.listenUNIX(sys.argv[1], server.Site(root))
print("ready", file=sys.__stdout__, flush=True)
reactor.run()
"""


def serve(
    command: list[str], ready: str, environment: Mapping[str, str] | None = None
) -> tuple[subprocess.Popen[str], str]:
    """Start a server.

    :param ready: the text that it prints when it is ready.
    :return: its process, and the line with ``ready``.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    for line in process.stdout:
        if ready in line:
            return process, line
    raise SystemExit(f"{command} did not start")


def request_rates(server: tuple[str, int], target: str = TARGET) -> tuple[float, float]:
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


def h2load(socket: str, target: str = TARGET) -> list[str]:
    """Return the command that sends requests for ``target`` to ``socket``."""
    command = ["h2load", "--h1", "-B", f"unix:{socket}", "-c8", f"-D{SECONDS}"]
    return [*command, target]


def rate_of(output: str) -> float:
    """Return the requests per second that ``h2load`` has printed.

    :raises SystemExit: if a request failed.
    """
    match = re.search(r"([\d.]+) req/s", output)
    if match is None or "0 failed, 0 errored" not in output:
        raise SystemExit(output)
    return float(match[1])


def main() -> None:
    """Measure all servers in turn; print the medians and their ratios."""
    options = make_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as started:
        bare_socket = str(Path(directory) / "sock")
        bare_log = str(Path(directory) / "log")
        bare, _ = serve([sys.executable, "-c", BARE, bare_socket, bare_log], "ready")
        started.callback(stop, bare)
        demo = [TWISTD, "-n", "--pidfile=", "devlxd", "--demo"]
        servers = {}
        for name, checkout in checkouts(options.checkout).items():
            process, line = serve(demo, "--unix-socket", environment_for(checkout))
            started.callback(stop, process)
            servers[name] = line.split()[3], process.pid
        servers["bare Site"] = bare_socket, bare.pid
        print_rates("one key of the config", servers, TARGET, options.quick)


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


def stop(process: subprocess.Popen[str]) -> None:
    """Stop a server."""
    process.terminate()
    process.communicate()


if __name__ == "__main__":
    main()
