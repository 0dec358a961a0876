"""Measure events per second, and the delay between a change and its event.

First 1, 10 and 100 subscribers of one container receive the events of 500
simultaneous changes, repeatedly. An event counts once for each subscriber. On a
busy machine the figures per second of processor time are more reliable.

Then one subscriber receives the event of one change at a time: the time from
closing the document to the event, in milliseconds. Both are measured with
lines and with websockets.

Where LXD is installed (Debian: ``apt-get install lxc lxd lxd-client``; needs
root), one of its containers subscribes both to it and to a devlxd that reads
LXD's records. The result is the time from a request to LXD's API until the event
of each.

Run it in a checkout with ``python -m benchmarks.events``; with ``--checkout
DIR`` the devlxd of another checkout is measured in turn with this one.
"""

from __future__ import annotations

import json
import selectors
import shutil
import socket
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.serving import (
    SUBSCRIPTIONS,
    CheckoutServer,
    OneContainerServer,
    checkouts,
    cpu_seconds,
    in_turns,
    make_parser,
    percentile,
    print_row,
    wait_for_events,
)
from tests.integration.guest_programs import SUBSCRIPTION, Barrier, python
from tests.integration.lxc import (
    INIT,
    UNTIL_READY,
    LXCContainer,
    make_home,
    unique_name,
)
from tests.integration.lxd import LXD, missing_lxd
from tests.integration.processes import TIMEOUT

ROUNDS = 5

QUICK_ROUNDS = 2

#: How long one measurement of the rate lasts, in seconds.
SECONDS = 1.0

#: The number of events of each change of the document.
BURST = 500

#: The number of single changes in one measurement of the delay.
CHANGES = 50

#: The number of changes that are requested from LXD.
LXD_CHANGES = 100

#: Subscribes, and sends the time of each event to the host.
TIMED = f"""{SUBSCRIPTION}
    import time
    for line in lines:
        if line.strip():
            host.sendall(b"%r" % time.perf_counter())
"""


@contextmanager
def subscribed(
    server: OneContainerServer, request: bytes, count: int
) -> Iterator[list[socket.socket]]:
    """Provide the connections of ``count`` subscribers; close them on exit."""
    connections = [server.subscribe(request) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def read_all(connections: list[socket.socket], count: int) -> None:
    """Read ``count`` events from each connection, in the order of arrival."""
    missing = dict.fromkeys(connections, count)
    ends = dict.fromkeys(connections, b"")
    with selectors.DefaultSelector() as selector:
        for subscriber in connections:
            selector.register(subscriber, selectors.EVENT_READ)
        while missing:
            ready = selector.select(TIMEOUT)
            if not ready:
                raise SystemExit("an event is missing")
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                connection = key.fileobj
                data = connection.recv(65536)
                if not data:
                    raise SystemExit("devlxd has closed the connection of a subscriber")
                missing[connection] -= (ends[connection] + data).count(b"}\n")
                ends[connection] = data[-1:]
                if missing[connection] <= 0:
                    selector.unregister(connection)
                    del missing[connection]


def rates(
    server: OneContainerServer, request: bytes, count: int
) -> tuple[float, float]:
    """Measure the rate of events that ``count`` subscribers receive altogether.

    :return: events per second, and per second of devlxd's processor time.
    """
    with subscribed(server, request, count) as connections:
        start, used, arrived = time.perf_counter(), cpu_seconds(server.devlxd.pid), 0
        while time.perf_counter() < start + SECONDS:
            now = time.time_ns()
            server.write({f"user.{n}": f"{now}" for n in range(BURST)})
            read_all(connections, BURST)
            arrived += BURST * count
        took = time.perf_counter() - start
        used = cpu_seconds(server.devlxd.pid) - used
        server.write({})
        read_all(connections, BURST)
    return arrived / took, arrived / used


def delays(server: OneContainerServer, request: bytes) -> list[float]:
    """Return the delays of single events, in milliseconds."""
    times = []
    with subscribed(server, request, 1) as (connection,):
        for n in range(CHANGES):
            file = server.document.open("w")
            file.write(json.dumps({"config": {"user.n": str(n)}}))
            file.flush()
            start = time.perf_counter()
            file.close()
            wait_for_events(connection)
            times.append((time.perf_counter() - start) * 1000)
        server.write({})
        wait_for_events(connection)
    return times


def measure_rates(servers: Mapping[str, OneContainerServer], rounds: int) -> None:
    """Measure and print the rates of events."""
    for kind, request in SUBSCRIPTIONS.items():
        for count in (1, 10, 100):
            measure = partial(rates, request=request, count=count)
            pairs = in_turns(servers, rounds, measure)
            for number, unit in enumerate(("events/s", "events/CPU s")):
                measured = {
                    name: [pair[number] for pair in found]
                    for name, found in pairs.items()
                }
                print_row(f"{kind}, subscribers: {count}", measured, unit)


def measure_delays(servers: Mapping[str, OneContainerServer], rounds: int) -> None:
    """Measure and print the delays of events, in milliseconds."""
    for kind, request in SUBSCRIPTIONS.items():
        found = in_turns(servers, rounds, partial(delays, request=request))
        for percent in (50, 99):
            measured = {
                name: [percentile(times, percent) for times in all_times]
                for name, all_times in found.items()
            }
            print_row(f"{kind}, delay", measured, f"ms p{percent}", digits=2)


class LXDClient:
    """A client of LXD's API that changes one container."""

    def __init__(self, lxd: LXD, name: str) -> None:
        self._path = f"/1.0/instances/{name}"
        self._http = HTTPConnection("unix")
        self._http.sock = socket.socket(socket.AF_UNIX)
        self._http.sock.connect(str(lxd.socket))

    def change(self, value: str) -> None:
        """Change the value of the key ``user.n``."""
        body = json.dumps({"config": {"user.n": value}})
        self._http.request("PATCH", self._path, body)
        response = self._http.getresponse()
        content = response.read()
        if response.status != 200:
            raise SystemExit(f"LXD: {content!r}")


def measure_beside_lxd(other: Path | None) -> None:
    """Measure and print the delays of events of a real LXD's container."""
    with ExitStack() as started:
        home = make_home()
        started.callback(shutil.rmtree, home)
        for word in ("shared", "init"):
            (home / word).mkdir()
            (home / word).chmod(0o777)
        (home / "init" / "init.py").write_text(INIT)
        lxd = LXD(home)
        lxd.start()
        started.callback(lxd.stop)
        binds = {home / "shared": "run/shared", home / "init": "run/init"}
        paths = {}
        for name, checkout in checkouts(other).items():
            (home / name).mkdir()
            containers = f"--containers={lxd.containers}"
            devlxd = CheckoutServer(checkout, home / name, containers)
            started.callback(devlxd.stop)
            binds[home / name] = f"dev/{name}"
            paths[name] = f"/dev/{name}/sock"
        paths["LXD"] = "/dev/lxd/sock"
        container = unique_name("subscriber")
        lxd.start_container(container, binds)
        lxd.lxc("exec", container, "--", "sh", "-c", UNTIL_READY)
        client = LXDClient(lxd, container)
        times = delays_beside_lxd(client, LXCContainer(container, home), home, paths)
        lxd.lxc("stop", "-f", container)
    for percent in (50, 99):
        measured = {name: [percentile(t, percent)] for name, t in times.items()}
        print_row("from LXD's API to the event", measured, f"ms p{percent}", digits=2)


def delays_beside_lxd(
    client: LXDClient, container: LXCContainer, home: Path, paths: Mapping[str, str]
) -> dict[str, list[float]]:
    """Change a container of LXD's, and return each server's delays in milliseconds.

    :param paths: the socket of each server in the container.
    """
    times: dict[str, list[float]] = {name: [] for name in paths}
    with ThreadPoolExecutor() as pool, Barrier(home / "shared") as barrier:
        for name, path in paths.items():
            pool.submit(container.run_at, home / "init", *python(TIMED, name, path))
        hosts = {name: barrier.wait_for(name.encode())[0] for name in paths}
        for n in range(LXD_CHANGES):
            start = time.perf_counter()
            client.change(str(n))
            for name, host in hosts.items():
                times[name].append((float(host.recv(100)) - start) * 1000)
        for host in hosts.values():
            host.close()
        # The programs end when they can send nothing more to the host.
        client.change("the end")
        client.change("the very end")
    return times


def measure(options: Namespace) -> None:
    """Measure and print the rates and delays without a real container."""
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    with ExitStack() as started:
        servers = {}
        for name, checkout in checkouts(options.checkout).items():
            servers[name] = OneContainerServer(checkout)
            started.callback(servers[name].stop)
        measure_rates(servers, rounds)
        measure_delays(servers, rounds)


def main() -> None:
    """Measure, and print the results."""
    options = make_parser(__doc__).parse_args()
    measure(options)
    problem = missing_lxd()
    if problem:
        print(f"not measured beside LXD: {problem}")
    else:
        measure_beside_lxd(options.checkout)


if __name__ == "__main__":
    main()
