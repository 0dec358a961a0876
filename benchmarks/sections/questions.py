"""``questions``: requests per second on connections that stay open."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.context import Context, start_devlxd, write_documents
from benchmarks.figures import Measured, Row, compare
from benchmarks.h2load import h2load, missing_h2load, rate_of
from benchmarks.places import SimulatedPlace
from benchmarks.servers import (
    PROTOCOL,
    TARGET,
    Server,
    lxd_server,
    twisted_servers,
)
from benchmarks.serving import AFTER, HERE, in_turns

ROUNDS = 4

#: How many connections send requests at a time.
CONNECTIONS = (1, 8, 32)

#: The number of connections with which stores of several sizes are compared.
USUAL = 8

#: The goals of the ratios to a bare Protocol, and to a store of one container.
OF_PROTOCOL, OF_ONE_CONTAINER = 0.7, 0.95

TEXT = """\
One container requests one value of its configuration with ``h2load``, which sends the next request of a connection when
it has the response to the last one. The bare Protocol is a ``twisted.internet.protocol.Protocol`` that sends the same
bytes whenever it receives something; the bare Site is a ``twisted.web.server.Site`` with the same value.
"""


def measure(context: Context) -> Measured:
    """Measure all servers in turn."""
    if problem := missing_h2load():
        return Measured("questions", "Questions", TEXT, (), [problem])
    with ExitStack() as started:
        rows = _measure(context, started)
    return Measured("questions", "Questions", TEXT, rows, context.missing())


def _measure(context: Context, started: ExitStack) -> list[Row]:
    place = context.place("questions", started)
    sizes = (1, context.many // 10, context.many)
    stores = {}
    for size in sizes:
        stores[size] = context.directory("documents")
        others = [f"other-{number}" for number in range(size - 1)]
        write_documents(stores[size], [place.name, *others])
    servers: dict[str, Server] = {}
    for name, checkout in context.checkouts.items():
        servers[name] = _start(context, started, checkout, stores[1], place)
    sized = {"1": servers[AFTER]}
    for size in sizes[1:]:
        sized[str(size)] = _start(context, started, HERE, stores[size], place)
    twisted = twisted_servers(context, started, servers[AFTER])
    servers |= {**twisted, **lxd_server(context)}
    rounds = context.rounds(ROUNDS)
    rows = []
    for count in CONNECTIONS:
        rate = partial(context.try_again, partial(_rate, connections=count))
        found = in_turns(servers, rounds, rate)
        rates = {name: [one for one, _ in pairs] for name, pairs in found.items()}
        goals = {PROTOCOL: OF_PROTOCOL}
        rows += compare(f"requests, connections: {count}", "1/s", rates, goals)
    # If it were the clients that cannot do more, it would wait for them.
    busy = [share for _, share in found[PROTOCOL]]
    rows.append(Row(f"core that the {PROTOCOL} uses, connections: {count}", "%", busy))
    by_size = in_turns(sized, rounds, _rate)
    alone = [one for one, _ in by_size["1"]]
    for size in sizes[1:]:
        many = [one for one, _ in by_size[str(size)]]
        what = f"requests, containers: {size}, connections: {USUAL}"
        rows.append(Row(what, "1/s", many, "1 container", alone, OF_ONE_CONTAINER))
    return rows


def _start(
    context: Context,
    started: ExitStack,
    checkout: Path,
    documents: Path,
    place: SimulatedPlace,
) -> Server:
    running = start_devlxd(started, checkout, context.directory("sockets"), documents)
    running.wait_until_idle()
    return Server(running.socket, place, running)


def _rate(server: Server, connections: int = USUAL) -> tuple[float, float]:
    """Return requests per second, and the used share of a core in percent."""
    used = server.cpu()
    rate = rate_of(
        server.run(*h2load(server.socket, f"http://lxd{TARGET}", connections, 1))
    )
    return rate, 100 * (server.cpu() - used)
