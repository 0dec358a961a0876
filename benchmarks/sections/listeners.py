"""``events``: one change, and all who listen."""

from __future__ import annotations

import json
import os
import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from attrs import frozen

from benchmarks import clients
from benchmarks.context import (
    LXD,
    Context,
    Running,
    start_devlxd,
    write_document,
    write_documents,
)
from benchmarks.figures import Measured, Row, compare
from benchmarks.machine import most_containers, open_files
from benchmarks.places import Client, LXDHost, Place
from benchmarks.servers import LXD_SOCKET
from benchmarks.serving import AFTER, in_turns, percentile
from benchmarks.simulated import SimulatedContainers
from tests.integration.processes import GuestError

ROUNDS = 3

#: How many listeners one container has, and how many changes are measured.
COUNTS, CHANGES = (1, 100, 1000), 20

#: The kind of listeners with which LXD is measured: it sends the head of a response
#: with lines only with the first event, and crashes when a connection is opened before
#: it has handled the last one.
WEBSOCKET = "websocket"

#: How many files devlxd opens besides those of containers, at most.
SPARE_FILES = 200

#: The goals: of the ratio to LXD, and of the memory of a listener.
OF_LXD, KIB = 0.5, 8.0

TEXT = """\
All listeners are in one container, and each receives each change. The time of each is the difference between the times
to the last of many listeners and to a single one, divided by the difference of their numbers: it does not contain what
a change costs by itself, which for LXD is a change of its database. Processor time is that of the server. LXD and
devlxd are measured in turn, never together. LXD is measured with websockets only: with lines it does not say when it
listens, and it crashes when a connection is opened before it has handled the last one.

Listeners of as many containers are simulated containers with one listener each: "one change" is a change of one of
them, and "all change" of all documents, until the last listener has its event. There are fewer than 10 000 where a
process may not open two files for each, or the memory is not enough.
"""


def measure(context: Context) -> Measured:
    """Measure listeners of one container, and of many."""
    rows: list[Row] = []
    for kind in clients.SUBSCRIPTIONS:
        with ExitStack() as started:
            rows += _measure_one(context, started, kind)
    for name in context.checkouts:
        with ExitStack() as started:
            rows += _measure_many(context, started, name)
    return Measured("events", "Events", TEXT, rows, context.missing())


@frozen
class _Source:
    """A server that sends events.

    :ivar path: its socket in the container of the listeners.
    :ivar change: changes the container, to a text.
    """

    path: str
    place: Place
    running: Running | None
    change: Callable[[str], None]


@frozen
class _Times:
    """The times of one measurement.

    :ivar last: from a change to the last listener, in milliseconds.
    :ivar cpu: the processor time of each change, in milliseconds.
    :ivar memory: the memory of each listener, in KiB.
    """

    last: float
    cpu: float
    memory: float


def _measure_one(context: Context, started: ExitStack, kind: str) -> list[Row]:
    servers = _sources(context, started, kind)
    rows: list[Row] = []
    found: dict[int, dict[str, list[_Times]]] = {}
    for count in COUNTS:
        measure = partial(_times, kind=kind, count=count)
        found[count] = in_turns(
            servers, context.rounds(ROUNDS), partial(context.try_again, measure)
        )
        last = {name: [one.last for one in all_] for name, all_ in found[count].items()}
        what = f"{kind}, listeners: {count}, change to last"
        rows += compare(what, "ms", last, {}, is_less_better=True)
    return [*rows, *_costs(kind, found)]


def _costs(kind: str, found: Mapping[int, Mapping[str, list[_Times]]]) -> list[Row]:
    """Return the rows of time, processor time and memory for each listener."""
    least, *_, most = found
    goals = {LXD: OF_LXD} if kind == WEBSOCKET else {}
    what = f"{kind}, listeners: {most}"
    rows = []
    for title, field in (("time", "last"), ("processor time", "cpu")):
        # The difference of the medians: those of each round differ too much.
        each = {
            name: [
                1000
                * (_median(all_, field) - _median(found[least][name], field))
                / (most - least)
            ]
            for name, all_ in found[most].items()
        }
        unit = "\N{MICRO SIGN}s"
        rows += compare(
            f"{what}, {title} of each", unit, each, goals, is_less_better=True
        )
    # The first listeners need new memory, later ones what those have left.
    for name, all_ in found[most].items():
        memory = [max(one.memory for one in all_)]
        if name == LXD:
            continue
        told = f"{what}, memory of each" + ("" if name == AFTER else f", {name}")
        rows.append(Row(told, "KiB", memory, goal=KIB, is_less_better=True))
    return rows


def _median(times: Sequence[_Times], field: str) -> float:
    found: list[float] = [getattr(one, field) for one in times]
    return statistics.median(found)


def _sources(context: Context, started: ExitStack, kind: str) -> dict[str, _Source]:
    place = context.place("events", started)
    sources = {}
    for name, checkout in context.checkouts.items():
        documents = context.directory("documents")
        write_documents(documents, [place.name])
        running = start_devlxd(
            started, checkout, context.directory("sockets"), documents
        )
        running.wait_until_idle()

        def change(value: str, documents: Path = documents) -> None:
            write_document(documents, place.name, value=value)

        sources[name] = _Source(running.socket, place, running, change)
    host = context.lxd()
    if host is not None and kind == WEBSOCKET:
        operator = LXDOperator(host, host.places[0].name)
        running = Running(str(host.lxd.socket), lambda: host.lxd.pid)
        sources[LXD] = _Source(LXD_SOCKET, host.places[0], running, operator.change)
    return sources


def _times(source: _Source, kind: str, count: int) -> _Times:
    assert source.running is not None
    before = source.running.memory()
    arguments = {"path": source.path, "kind": kind, "count": count}
    with Client(source.place, "listen", **arguments) as client:
        client.receive()
        memory = (source.running.memory() - before) / count
        _change(source, client)
        used = source.running.cpu()
        changes = [_change(source, client) for _ in range(CHANGES)]
        used = (source.running.cpu() - used) / CHANGES
    return _Times(percentile(changes, 50) * 1e3, used * 1e3, memory)


def _change(source: _Source, client: Client) -> float:
    """Return the time from a change to the last listener, in seconds."""
    client.go_on()
    start = time.perf_counter()
    source.change(str(time.time_ns()))
    last: float = client.receive()
    return last - start


class LXDOperator:
    """A client of LXD's API that changes one container.

    It changes it at once: LXD 5.0 accepts no other client until a new connection has
    sent something.
    """

    def __init__(self, host: LXDHost, name: str) -> None:
        self._address = str(host.lxd.socket)
        self._path = f"/1.0/instances/{name}"
        self._http: HTTPConnection | None = None
        self.change("0")

    def change(self, value: str) -> None:
        """Change the value of the key ``user.value``.

        :raises GuestError: if LXD does not change it.
        """
        body = json.dumps({"config": {"user.value": value}})
        try:
            http = self._http = self._http or self._connect()
            http.request("PATCH", self._path, body)
            response = http.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            self._http = None
            raise GuestError(f"LXD: {error!r}") from error
        if response.status != 200:
            raise GuestError(f"LXD: {content!r}")

    def _connect(self) -> HTTPConnection:
        http = HTTPConnection("unix")
        http.sock = socket.socket(socket.AF_UNIX)
        http.sock.connect(self._address)
        return http


def _measure_many(context: Context, started: ExitStack, server: str) -> list[Row]:
    """Measure one listener in each of many containers."""
    # Each has a connection, and devlxd watches the end of its init.
    possible = (open_files() - SPARE_FILES) // 2
    count = min(context.many, possible, most_containers())
    names = [f"listener{os.getpid()}n{number}" for number in range(count)]
    documents = context.directory("documents")
    write_documents(documents, names)
    running = start_devlxd(
        started, context.checkouts[server], context.directory("sockets"), documents
    )
    running.wait_until_idle()

    def subscribe(_: int) -> tuple[object, list[int]]:
        connection = clients.subscribe(running.socket, "lines")
        return None, [connection.detach()]

    containers = started.enter_context(SimulatedContainers(names, subscribe))
    memory, start = running.memory(), time.perf_counter()
    by_number = {one.number: one.descriptors[0] for one in containers.run(20)}
    took = time.perf_counter() - start
    for descriptor in by_number.values():
        started.callback(os.close, descriptor)
    memory = running.memory() - memory
    what = f"listeners of {len(names)} containers"
    if server != AFTER:
        what += f", {server}"
    listeners = {n: clients.Listeners([fd]) for n, fd in list(by_number.items())[:50]}
    delays = []
    for number, listener in listeners.items():
        start = time.perf_counter()
        write_document(documents, names[number], value="one")
        delays.append((listener.wait() - start) * 1000)
    everybody = clients.Listeners([*by_number.values()])
    used, start = running.cpu(), time.perf_counter()
    for name in names:
        write_document(documents, name, value="all")
    last = everybody.wait() - start
    cpu_of_each = 1000 * (running.cpu() - used) / len(names)
    return [
        Row(f"{what}, to subscribe all", "s", [took]),
        Row(
            f"{what}, memory of each",
            "KiB",
            [memory / len(names)],
            goal=KIB,
            is_less_better=True,
        ),
        Row(f"{what}, one change", "ms", [percentile(delays, 50)]),
        Row(f"{what}, all change", "s", [last]),
        Row(
            f"{what}, all change, processor time of each",
            "ms",
            [cpu_of_each],
        ),
    ]
