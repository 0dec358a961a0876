"""How many events a second devlxd tells to how many listeners, and how soon.

The listeners of one container, 1, 10 and 100 of them, are told of 500 changes
at once, again and again; each event that arrives at each of them counts. Where the
machine does other things too, the figures by processor time say more. Then
one listener hears of one change at a time: printed is how long it took from
the closing of the document to the event, in milliseconds. Both are done with
lines and with websockets.

Where LXD is installed (Debian: ``apt-get install lxc lxd lxd-client``, and
needs root), one of its containers listens to it and to devlxd, which reads
LXD's own records: printed is how long it took from the request to LXD's API to
the event of each.

Run it in a checkout: ``python -m benchmarks.events``. With ``--checkout DIR``
another checkout is measured in turns with this one.
"""

from __future__ import annotations

import json
import selectors
import shutil
import socket
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.serving import (
    HERE,
    LISTENERS,
    Host,
    compared,
    cpu_seconds,
    in_turns,
    paired,
    percentile,
    use,
    wait_for_events,
)
from tests.integration.lxc import (
    INIT,
    TIMEOUT,
    Barrier,
    DevLXD,
    LXCContainer,
    make_home,
    python,
    unique_name,
)
from tests.integration.lxd import LXD, missing_lxd

ROUNDS = 5

#: For how long the same is done in each round, in seconds.
SECONDS = 1.0

#: How many events there are at once.
BURST = 500

#: How many single changes there are in each round.
CHANGES = 50

#: How many changes are asked of LXD.
LXD_CHANGES = 100

#: Listens, and passes on when each event came.
TIMED = """
    import time
    from http.client import HTTPConnection
    name, path = sys.argv[1:]
    events = HTTPConnection("unix")
    events.sock = socket.socket(socket.AF_UNIX)
    events.sock.connect(path)
    events.request("GET", "/1.0/events")
    response = events.getresponse()
    host = arrive(name.encode())
    for line in iter(response.readline, b""):
        if line.strip():
            host.sendall(b"%r" % time.perf_counter())
"""


@contextmanager
def listening(host: Host, request: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Open ``count`` connections that listen."""
    connections = [host.listen(request) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def read_all(connections: list[socket.socket], count: int) -> None:
    """Read ``count`` events of each connection, as they come."""
    missing = dict.fromkeys(connections, count)
    ends = dict.fromkeys(connections, b"")
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        while missing:
            ready = selector.select(TIMEOUT)
            if not ready:
                raise SystemExit("an event did not come")
            for key, _ in ready:
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                data = connection.recv(65536)
                if not data:
                    raise SystemExit("devlxd closed a connection that listens")
                missing[connection] -= (ends[connection] + data).count(b"}\n")
                ends[connection] = data[-1:]
                if missing[connection] <= 0:
                    selector.unregister(connection)
                    del missing[connection]


def rates(host: Host, request: bytes, count: int) -> tuple[float, float]:
    """Return how many events arrive at ``count`` listeners together.

    :return: in a second, and in a second of devlxd's processor time.
    """
    with listening(host, request, count) as connections:
        start, used, arrived = time.perf_counter(), cpu_seconds(host.devlxd.pid), 0
        while time.perf_counter() < start + SECONDS:
            now = time.time_ns()
            host.write({f"user.{n}": f"{now}" for n in range(BURST)})
            read_all(connections, BURST)
            arrived += BURST * count
        took = time.perf_counter() - start
        used = cpu_seconds(host.devlxd.pid) - used
        host.write({})
        read_all(connections, BURST)
    return arrived / took, arrived / used


def latencies(host: Host, request: bytes) -> list[float]:
    """Return how long single events took, in milliseconds."""
    times = []
    with listening(host, request, 1) as (connection,):
        for n in range(CHANGES):
            file = host.document.open("w")
            file.write(json.dumps({"config": {"user.n": str(n)}}))
            file.flush()
            start = time.perf_counter()
            file.close()
            wait_for_events(connection)
            times.append((time.perf_counter() - start) * 1000)
        host.write({})
        wait_for_events(connection)
    return times


def show(what: str, found: dict[str, list[float]], unit: str) -> None:
    """Print the medians, and the ratio of the first to the others."""
    medians = [f"{name} {statistics.median(f):9.2f}" for name, f in found.items()]
    print(f"{what:24}", *medians, unit, *paired(found), flush=True)


def measure_hosts(hosts: dict[str, Host]) -> None:
    """Measure what needs no container, and print it."""
    for kind, request in LISTENERS.items():
        for count in (1, 10, 100):
            told = in_turns(
                hosts, ROUNDS, lambda host, r=request, c=count: rates(host, r, c)
            )
            for number, unit in enumerate(("events/s", "events/CPU s")):
                found = {
                    name: [pair[number] for pair in pairs]
                    for name, pairs in told.items()
                }
                show(f"{kind} to {count}", found, unit)
    for kind, request in LISTENERS.items():
        times = in_turns(hosts, ROUNDS, lambda host, r=request: latencies(host, r))
        for percent in (50, 99):
            found = {
                name: [percentile(some, percent) for some in rounds]
                for name, rounds in times.items()
            }
            show(f"{kind}, p{percent}", found, "ms")


class PatchingLXD:
    """An LXD whose API is asked for changes of one container."""

    def __init__(self, lxd: LXD, name: str) -> None:
        self._path = f"/1.0/instances/{name}"
        self._http = HTTPConnection("unix")
        self._http.sock = socket.socket(socket.AF_UNIX)
        self._http.sock.connect(str(lxd.socket))

    def change(self, value: str) -> None:
        """Change a key."""
        body = json.dumps({"config": {"user.n": value}})
        self._http.request("PATCH", self._path, body)
        response = self._http.getresponse()
        answer = response.read()
        if response.status != 200:
            raise SystemExit(f"LXD: {answer!r}")


def measure_lxd() -> None:
    """Print how soon a guest of LXD hears of a change, from LXD and from devlxd."""
    use(HERE)
    with ExitStack() as started:
        home = make_home()
        started.callback(shutil.rmtree, home)
        for word in ("sockets", "shared", "init"):
            (home / word).mkdir()
            (home / word).chmod(0o777)
        (home / "init" / "init.py").write_text(INIT)
        lxd = LXD(home)
        lxd.start()
        started.callback(lxd.stop)
        devlxd = DevLXD(f"--containers={lxd.containers}", f"--listen={home}/sockets")
        started.callback(devlxd.stop)
        name = unique_name("hearer")
        binds = {
            home / "sockets": "dev/devlxd",
            home / "shared": "run/shared",
            home / "init": "run/init",
        }
        lxd.start_container(name, binds)
        ready = "until test -S /run/init/sock; do sleep 0.05; done"
        lxd.lxc("exec", name, "--", "sh", "-c", ready)
        times = hear_of_changes(PatchingLXD(lxd, name), LXCContainer(name, home), home)
        lxd.lxc("stop", "-f", name)
    for server, taken in times.items():
        show_times(f"{server}, from request", taken)


def hear_of_changes(
    lxd: PatchingLXD, container: LXCContainer, home: Path
) -> dict[str, list[float]]:
    """Return how long each server took to tell of each change, in milliseconds."""
    times: dict[str, list[float]] = {"devlxd": [], "lxd": []}
    with ThreadPoolExecutor() as pool, Barrier(home / "shared") as barrier:
        for server in times:
            command = python(TIMED, server, f"/dev/{server}/sock")
            pool.submit(container.run_at, home / "init", *command)
        hosts = {server: barrier.wait_for(server.encode())[0] for server in times}
        for n in range(LXD_CHANGES):
            start = time.perf_counter()
            lxd.change(str(n))
            for server, host in hosts.items():
                times[server].append((float(host.recv(100)) - start) * 1000)
        for host in hosts.values():
            host.close()
        # The next event ends both programs: nobody takes what they pass on.
        lxd.change("the end")
        lxd.change("the very end")
    return times


def show_times(what: str, times: list[float]) -> None:
    """Print the median and the 99th percentile."""
    median, slow = percentile(times, 50), percentile(times, 99)
    print(f"{what:24} {median:8.2f} ms p50 {slow:8.2f} ms p99", flush=True)


def main() -> None:
    """Measure, and print."""
    with ExitStack() as started:
        hosts = {}
        for name, checkout in compared(__doc__).items():
            hosts[name] = Host(checkout)
            started.callback(hosts[name].stop)
        measure_hosts(hosts)
    problem = missing_lxd()
    if problem:
        print(f"not beside LXD: {problem}")
    else:
        measure_lxd()


if __name__ == "__main__":
    main()
