"""``containers``: a host with 10 000 containers, without clients."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

from attrs import asdict, frozen

from benchmarks import clients
from benchmarks.context import Context, Running, start_devlxd
from benchmarks.directory import DOCUMENT
from benchmarks.figures import Measured, Row
from benchmarks.serving import BEFORE, in_turns, percentile
from tests.integration.processes import wait_until

ROUNDS = 2

#: How many single changes are measured.
CHANGES = 50

TEXT = """\
One document of about 40 lines, as ``lxc config show --expanded`` prints them, for each container. The time to the first
answer is that from the start of the process to the response to a guest that asks at once, while the documents are read;
"all loaded" is the time until ``/status`` of ``--admin`` knows all. The memory is that of the process beyond one without
containers. "One change" is the time from the rename of a document to the event at a listener; "all documents touched" is
the time until each of them was written and read again, with an event for each.
"""


@frozen
class Figures:
    """The figures of one devlxd.

    :ivar first: from the start to the first answer, in seconds.
    :ivar loaded: from the start until all documents are read, in seconds.
    :ivar memory: the memory of each container, in KiB.
    :ivar change: from a change to its event, the median in milliseconds.
    :ivar change_cpu: the processor time of a change, in milliseconds.
    :ivar touched: until all documents are read again, in seconds.
    :ivar touched_cpu: the processor time of each of these changes, in milliseconds.
    """

    first: float
    loaded: float
    memory: float
    change: float
    change_cpu: float
    touched: float
    touched_cpu: float


#: What each of the `Figures` is called, and its unit.
TITLES = {
    "first": ("start to the first answer", "s"),
    "loaded": ("start to all loaded", "s"),
    "memory": ("memory of each", "KiB"),
    "change": ("one change, to the event", "ms"),
    "change_cpu": ("one change, processor time", "ms"),
    "touched": ("all documents touched", "s"),
    "touched_cpu": ("all documents touched, processor time of each", "ms"),
}


def measure(context: Context) -> Measured:
    """Measure each checkout in turn."""
    found = in_turns(
        context.checkouts,
        context.rounds(ROUNDS),
        lambda checkout: _measure(context, checkout),
    )
    columns = {
        name: {key: [asdict(one)[key] for one in all_] for key in TITLES}
        for name, all_ in found.items()
    }
    first, *_ = columns.values()
    before = columns.get(BEFORE)
    rows = [
        Row(
            f"{context.many} containers, {title}",
            unit,
            first[key],
            BEFORE if before else "",
            before[key] if before else (),
            is_less_better=True,
        )
        for key, (title, unit) in TITLES.items()
    ]
    title = f"{context.many} containers"
    return Measured("containers", title, TEXT, rows)


def _measure(context: Context, checkout: Path) -> Figures:
    with ExitStack() as started:
        empty = context.directory("documents")
        start = partial(_start, context, started, checkout)
        without = start(empty).memory()
        documents = context.directory("documents")
        for number in range(context.many):
            write(documents, number, "0")
        begin = time.perf_counter()
        running = start(documents)
        _ask(running.socket)
        first = time.perf_counter() - begin
        admin = str(documents.with_name(f"admin-{documents.name}"))
        wait_until(lambda: _status(admin, "known") == context.many, "all are loaded")
        loaded = time.perf_counter() - begin
        running.wait_until_idle()
        memory = (running.memory() - without) / context.many
        write_zero = partial(write, documents, 0)
        change, change_cpu = _change(running, write_zero)
        touched, touched_cpu = _touch(running, documents, context.many, admin)
    return Figures(first, loaded, memory, change, change_cpu, touched, touched_cpu)


def _start(
    context: Context, started: ExitStack, checkout: Path, documents: Path
) -> Running:
    admin = documents.with_name(f"admin-{documents.name}")
    return start_devlxd(
        started,
        checkout,
        context.directory("sockets"),
        documents,
        "--assume=c0",
        f"--admin=unix:{admin}",
    )


def write(documents: Path, number: int, value: str) -> None:
    """Replace the document of a container."""
    new = documents / ".new"
    new.write_text(DOCUMENT.format(n=number, value=value))
    new.chmod(0o640)
    new.rename(documents / f"c{number}.yaml")


def _ask(path: str) -> None:
    response = next(clients.ask(path, "/1.0/config/user.value"))
    if not str(response).startswith("HTTP/1.1 200"):
        raise SystemExit(f"devlxd does not answer: {response}")


def _change(running: Running, change: Callable[[str], None]) -> tuple[float, float]:
    """Return the time from a change to its event, and its processor time, in ms."""
    with clients.subscribe(running.socket, "lines") as connection:
        listeners = clients.Listeners([connection.fileno()])
        used, delays = running.cpu(), []
        for number in range(CHANGES):
            start = time.perf_counter()
            change(str(number + 1))
            delays.append((listeners.wait() - start) * 1000)
        used = running.cpu() - used
    return percentile(delays, 50), 1000 * used / CHANGES


def _touch(
    running: Running, documents: Path, count: int, admin: str
) -> tuple[float, float]:
    """Return the time until all changed documents are read, and the processor time."""
    before = _metric(admin, "devlxd_events_total")
    used, start = running.cpu(), time.perf_counter()
    for number in range(count):
        write(documents, number, "touched")
    wait_until(
        lambda: _metric(admin, "devlxd_events_total") == before + count,
        "all are read again",
    )
    took = time.perf_counter() - start
    return took, 1000 * (running.cpu() - used) / count


def _get(admin: str, path: str) -> str:
    # Each answer takes time that devlxd does not use for reading.
    time.sleep(0.2)
    connection = HTTPConnection("devlxd")
    connection.sock = socket.socket(socket.AF_UNIX)
    with connection.sock:
        connection.sock.connect(admin)
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def _status(admin: str, key: str) -> int:
    """Return a number of containers in ``/status``."""
    return int(json.loads(_get(admin, "/status"))["containers"][key])


def _metric(admin: str, name: str) -> float:
    """Return the value of a metric."""
    for line in _get(admin, "/metrics").splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise SystemExit(f"there is no {name}")
