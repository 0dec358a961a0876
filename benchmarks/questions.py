"""How many questions a second devlxd answers, beside a bare Twisted Site.

Needs ``h2load`` (Debian: ``apt-get install nghttp2-client``). Run it in a
checkout, with a Python that has what devlxd needs: ``python -m
benchmarks.questions``. The servers are asked in turns, so that what else the
machine does hits each. With ``--checkout DIR`` the devlxd of another checkout
is one of them.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.serving import compared, cpu_seconds, in_turns, paired, use
from tests.integration.lxc import TWISTD

ROUNDS = 8

SECONDS = 2

TARGET = "http://lxd/1.0/config/user.foo"

#: The same answer at the same path from twisted.web alone, its log in a file.
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


def serve(command: list[str], sign: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server; return it, and the line that has ``sign`` in it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if sign in line:
            return process, line
    raise SystemExit(f"{command} did not start")


def questions_a_second(server: tuple[str, int]) -> tuple[float, float]:
    """Ask a server, given by its socket and its pid, for `SECONDS`.

    :return: the questions in a second, and in a second of its processor time.
    """
    socket, pid = server
    used = cpu_seconds(pid)
    done = subprocess.run(load(socket), capture_output=True, text=True, check=True)
    rate = rate_in(done.stdout)
    return rate, rate * SECONDS / (cpu_seconds(pid) - used)


def load(socket: str) -> list[str]:
    """Return the command that asks at ``socket``."""
    command = ["h2load", "--h1", "-B", f"unix:{socket}", "-c8", f"-D{SECONDS}"]
    return [*command, TARGET]


def rate_in(output: str) -> float:
    """Read the questions a second off what ``h2load`` has printed."""
    match = re.search(r"([\d.]+) req/s", output)
    if match is None or "0 failed, 0 errored" not in output:
        raise SystemExit(output)
    return float(match[1])


def show(rates: dict[str, list[float]], unit: str = "questions/s") -> None:
    """Print the medians, and the ratio of the first to the others."""
    for name, rate in rates.items():
        print(f"{name:10} {statistics.median(rate):8.0f} {unit}")
    for ratio in paired(rates):
        print(f"{'devlxd':10} {ratio}")


def main() -> None:
    """Ask all in turns, and print the medians and their ratios."""
    checkouts = compared(__doc__)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as started:
        bare_socket = str(Path(directory) / "sock")
        bare_log = str(Path(directory) / "log")
        bare, _ = serve([sys.executable, "-c", BARE, bare_socket, bare_log], "ready")
        started.callback(stop, bare)
        demo = [TWISTD, "-n", "--pidfile=", "devlxd", "--demo"]
        servers = {}
        for name, checkout in checkouts.items():
            use(checkout)
            process, line = serve(demo, "--unix-socket")
            started.callback(stop, process)
            servers[name] = line.split()[3], process.pid
        servers["bare Site"] = bare_socket, bare.pid
        pairs = in_turns(servers, ROUNDS, questions_a_second)
    for number, unit in enumerate(("questions/s", "questions/CPU s")):
        show({name: [pair[number] for pair in pairs[name]] for name in servers}, unit)


def stop(process: subprocess.Popen[str]) -> None:
    """Stop a server."""
    process.terminate()
    process.communicate()


if __name__ == "__main__":
    main()
