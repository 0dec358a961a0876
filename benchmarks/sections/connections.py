"""``connections``: requests per second with a new connection for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.context import LXD, Context, start_devlxd, write_documents
from benchmarks.figures import Measured, Row, compare
from benchmarks.places import results
from benchmarks.servers import (
    PROTOCOL,
    SITE,
    TARGET,
    Server,
    lxd_server,
    twisted_servers,
)
from benchmarks.serving import in_turns, percentile

ROUNDS = 5

#: How many processes connect at a time, and for how many seconds.
PROCESSES, SECONDS = 4, 1.0

#: With LXD, one connection is opened after the other.
ALONE = 1

#: The goals of the ratios to a bare Site, and to LXD.
OF_SITE, OF_LXD = 1.0, 10.0

TEXT = f"""\
{PROCESSES} processes of one container open a connection, send a request, read the response and close, as curl does. That
a bare Protocol answers more shows that the clients are not the limit. With LXD there is one process: LXD 5.0 crashes
when a connection is opened or closed while it handles a request of another one. For the same reason its connections are
closed after the measurement, and those of devlxd at once.
"""


def measure(context: Context) -> Measured:
    """Measure all servers in turn."""
    with ExitStack() as started:
        rows = _measure(context, started)
    return Measured("connections", "Fresh connections", TEXT, rows, context.missing())


def _measure(context: Context, started: ExitStack) -> list[Row]:
    place = context.place("connections", started)
    documents = context.directory("documents")
    write_documents(documents, [place.name])
    servers = {}
    for name, checkout in context.checkouts.items():
        running = start_devlxd(
            started, checkout, context.directory("sockets"), documents
        )
        servers[name] = Server(running.socket, place, running)
    first = next(iter(servers.values()))
    twisted = twisted_servers(context, started, first)
    lxd = lxd_server(context)
    rounds = context.rounds(ROUNDS)
    many = in_turns({**servers, **twisted}, rounds, partial(_rate, PROCESSES))
    alone = in_turns(
        {**servers, **lxd}, rounds, partial(context.try_again, partial(_rate, ALONE))
    )
    what = f"requests, processes: {PROCESSES}"
    rows = compare(what, "1/s", _column(many, 0), {SITE: OF_SITE})
    del many[PROTOCOL]
    what = f"response, processes: {PROCESSES}, 99 %"
    rows += compare(what, "ms", _column(many, 1), {}, is_less_better=True)
    what = f"requests, processes: {ALONE}"
    rows += compare(what, "1/s", _column(alone, 0), {LXD: OF_LXD})
    return rows


def _column(
    found: Mapping[str, Sequence[tuple[float, float]]], number: int
) -> dict[str, list[float]]:
    return {name: [pair[number] for pair in pairs] for name, pairs in found.items()}


def _rate(processes: int, server: Server) -> tuple[float, float]:
    """Return the requests per second, and the 99th percentile in milliseconds."""
    times, errors = results(
        server.place,
        "connections",
        path=server.socket,
        target=TARGET,
        seconds=SECONDS,
        processes=processes,
        keep=server.running is None,
    )
    if errors:
        raise SystemExit(f"{errors} of {len(times)} requests have failed")
    return len(times) / SECONDS, percentile(times, 99)
