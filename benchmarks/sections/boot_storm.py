"""``storm``: thousands of containers that boot at once."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter

from attrs import asdict, frozen

from benchmarks import clients
from benchmarks.context import LXD, Context, start_devlxd, write_documents
from benchmarks.figures import Measured, Row, compare
from benchmarks.machine import most_containers
from benchmarks.places import Client, LXDPlace
from benchmarks.servers import LXD_SOCKET
from benchmarks.serving import AFTER, in_turns, percentile
from benchmarks.simulated import SimulatedContainers

#: How many crawls run at a time, for each core.
AT_ONCE = 10

#: How often each container of LXD crawls.
CRAWLS = 10

ROUNDS = 3

TEXT = f"""\
Each container requests once what cloud-init reads at a boot: {len(clients.CRAWL)} requests, one after the other, with a
connection for each. {AT_ONCE} containers for each core do so at a time. They are simulated containers: each is the init
of its own pid namespace in a cgroup as systemd-nspawn names it, and devlxd identifies each for the first time. LXD is
compared with fewer containers, real ones: all at the same time, {CRAWLS} crawls each. Their connections stay open until
all are done, as LXD 5.0 crashes otherwise.
"""


@frozen
class _Storm:
    """The figures of one storm.

    :ivar took: the time in all, in seconds.
    :ivar rate: requests per second.
    :ivar median: the median of the response times, in milliseconds.
    :ivar slow: their 99th percentile.
    :ivar errors: the number of failed requests.
    """

    took: float
    rate: float
    median: float
    slow: float
    errors: float


#: What each figure is called, its unit, and whether less of it is better.
_TITLES = {
    "took": ("time in all", "s", True),
    "rate": ("requests", "1/s", False),
    "median": ("response, 50 %", "ms", True),
    "slow": ("response, 99 %", "ms", True),
    "errors": ("errors", "", True),
}


def measure(context: Context) -> Measured:
    """Measure many simulated containers, and those of LXD."""
    rows: list[Row] = []
    count = min(context.many // 2, most_containers())
    storms = in_turns(
        context.checkouts, 1, lambda checkout: _crowd(context, checkout, count)
    )
    rows += _rows(f"{count} containers", storms)
    with ExitStack() as started:
        rows += _beside_lxd(context, started)
    return Measured("storm", "Boot storm", TEXT, rows, context.missing())


def _rows(what: str, found: dict[str, list[_Storm]]) -> list[Row]:
    rows = []
    for key, (title, unit, is_less_better) in _TITLES.items():
        columns = {n: [asdict(one)[key] for one in all_] for n, all_ in found.items()}
        goal = 0.0 if key == "errors" else None
        if len(columns) == 1 or key == "errors":
            for name, values in columns.items():
                told = f"{what}, {title}" + ("" if name == AFTER else f" of {name}")
                is_goal = goal if name == AFTER else None
                rows.append(Row(told, unit, values, goal=is_goal, is_less_better=True))
        else:
            rows += compare(
                f"{what}, {title}", unit, columns, {}, is_less_better=is_less_better
            )
    return rows


def _crowd(context: Context, checkout: Path, count: int) -> _Storm:
    names = [f"booting{os.getpid()}n{number}" for number in range(count)]
    documents = context.directory("documents")
    write_documents(documents, names)
    with ExitStack() as started:
        running = start_devlxd(
            started, checkout, context.directory("sockets"), documents, dialect="lxd6"
        )
        running.wait_until_idle()

        def crawl(_: int) -> tuple[object, list[int]]:
            return clients.crawl(running.socket), []

        containers = started.enter_context(SimulatedContainers(names, crawl))
        times, errors, start = [], 0, perf_counter()
        for result in containers.run(AT_ONCE * (os.cpu_count() or 1)):
            crawled, failed = result.value
            times += crawled
            errors += failed
        return _storm(times, errors, perf_counter() - start)


def _storm(times: list[float], errors: int, took: float) -> _Storm:
    median, slow = (percentile(times, percent) for percent in (50, 99))
    return _Storm(took, len(times) / took, median, slow, errors)


def _beside_lxd(context: Context, started: ExitStack) -> list[Row]:
    host = context.lxd()
    if host is None:
        return []
    servers = {}
    for name, checkout in context.checkouts.items():
        running = start_devlxd(
            started,
            checkout,
            context.shared(name),
            host.lxd.containers,
            dialect="lxd6",
        )
        running.wait_until_idle()
        servers[name] = f"/dev/{name}/sock"
    servers[LXD] = LXD_SOCKET
    storm = partial(context.try_again, partial(_crawls, host.places))
    found = in_turns(servers, context.rounds(ROUNDS), storm)
    return _rows(f"{len(host.places)} containers of LXD", found)


def _crawls(places: list[LXDPlace], path: str) -> _Storm:
    with ExitStack() as started:
        running = [
            started.enter_context(Client(place, "crawls", path=path, count=CRAWLS))
            for place in places
        ]
        for client in running:
            client.receive()
        for client in running:
            client.go_on()
        found = [client.receive() for client in running]
    times = [time for times, *_ in found for time in times]
    errors = sum(errors for _, errors, *_ in found)
    begin, end = min(one[2] for one in found), max(one[3] for one in found)
    return _storm(times, errors, end - begin)
