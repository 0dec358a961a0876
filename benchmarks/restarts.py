"""Measure how long a restart with many connections takes, step by step.

Services follow each other in one process, which connects 3 000 subscribers to
the first one: half of them with lines, half with websockets. For each restart it
prints the seconds

* to hand the connections over, including their records as JSON,
* to adopt them in the next service,
* until all streams continue, and each subscriber has received the event of a change
  between the two services.

Callers are not identified (``--assume``). With systemd, the test
``tests.integration.test_restarts`` prints the time of a whole restart.

It needs 12 000 file descriptors, and no root. Run it in a checkout with
``python -m benchmarks.restarts``; ``--quick`` uses 300 subscribers.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import tempfile
import time
from pathlib import Path
from typing import cast

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import deferLater

from benchmarks.serving import SUBSCRIPTIONS, make_parser
from devlxd.containers.memory_store import MemoryStore
from devlxd.events.journal import SQLiteJournal
from devlxd.guestapi.dialects.lxd import DIALECT
from devlxd.host.adopted import AdoptedEndpoint
from devlxd.interfaces import IDevLXDReactor
from devlxd.limits import CurrentLimits
from devlxd.model import Container, HandedOver, Limits
from devlxd.peers.assumed_identifier import AssumedIdentifier
from devlxd.service import DevLXDService

SUBSCRIBERS = 3000

QUICK_SUBSCRIBERS = 300

RESTARTS = 5

#: How many connections one container may have in this benchmark.
MAX_CONNECTIONS = 10_000

TITLES = ("hand over", "adopt", "continue", "all", "record")

_reactor = cast(IDevLXDReactor, installed)


class Services:
    """Services of one container that follow each other.

    :ivar current: the service that runs.
    """

    def __init__(self, directory: Path) -> None:
        self._journal = str(directory / "journal")
        self.address = str(directory / "sock")
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.address)
        self._listening.listen(4096)
        self._store = MemoryStore()
        self._changes = 0
        self.change()
        self.start()

    def start(self) -> None:
        """Start the next service."""
        self.current = DevLXDService(
            _reactor,
            self._store,
            {DIALECT: AdoptedEndpoint(self._listening.fileno())},
            AssumedIdentifier("c1"),
            journal=SQLiteJournal(self._journal),
            limits=CurrentLimits(Limits(connections=MAX_CONNECTIONS)),
        )
        self.current.privilegedStartService()
        self.current.startService()

    def change(self) -> None:
        """Cause an event."""
        self._changes += 1
        config = {"user.a": str(self._changes), "volatile.uuid": "1"}
        self._store.put(Container("c1", config))


async def subscribe(address: str, count: int) -> list[socket.socket]:
    """Connect subscribers, and read the heads of their responses."""
    requests = [request + b"\r\n" for request in SUBSCRIPTIONS.values()]
    subscribers = []
    for number in range(count):
        subscriber = socket.socket(socket.AF_UNIX)
        subscriber.connect(address)
        subscriber.sendall(requests[number % len(requests)])
        subscriber.setblocking(False)
        subscribers.append(subscriber)
        if number % 100 == 99:
            await receive(subscribers[-100:], b"\r\n\r\n")
    return subscribers


async def receive(subscribers: list[socket.socket], end: bytes) -> None:
    """Read until each subscriber has received data that ends with ``end``."""
    missing = {one.fileno(): one for one in subscribers}
    poll = select.poll()
    for descriptor in missing:
        poll.register(descriptor, select.POLLIN)
    while missing:
        for descriptor, _ in poll.poll(0):
            data = missing[descriptor].recv(65536)
            if not data:
                raise SystemExit("devlxd has closed the connection of a subscriber")
            if end in data:
                poll.unregister(descriptor)
                del missing[descriptor]
        await deferLater(installed, 0)


async def measure(count: int) -> None:
    """Restart, and print the results."""
    with tempfile.TemporaryDirectory() as name:
        services = Services(Path(name))
        subscribers = await subscribe(services.address, count)
        print(f"{len(subscribers)} subscribers; seconds")
        print("".join(f"{title:>12}" for title in TITLES))
        for _ in range(RESTARTS):
            began = time.perf_counter()
            connections = await services.current.hand_over()
            record = json.dumps([dict(one.record) for one in connections])
            await maybeDeferred(services.current.stopService)
            handed_over = time.perf_counter()
            services.change()
            services.start()
            loaded = [
                HandedOver(one.descriptor, each)
                for one, each in zip(connections, json.loads(record), strict=True)
            ]
            if services.current.adopt(loaded) or len(loaded) != count:
                raise SystemExit("a connection was lost")
            adopted = time.perf_counter()
            await receive(subscribers, b"}")
            ended = time.perf_counter()
            for seconds in (
                handed_over - began,
                adopted - handed_over,
                ended - adopted,
                ended - began,
            ):
                print(f"{seconds:12.3f}", end="")
            print(f"{len(record) // 1000:9} KB")
        await maybeDeferred(services.current.stopService)


def main() -> None:
    """Run the benchmark."""
    options = make_parser(__doc__).parse_args()
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    count = QUICK_SUBSCRIBERS if options.quick else SUBSCRIBERS
    core = cast(IReactorCore, installed)
    failures: list[object] = []

    def run() -> None:
        measured = Deferred.fromCoroutine(measure(count))
        measured.addErrback(failures.append).addBoth(lambda _: core.stop())

    core.callWhenRunning(run)
    core.run()
    if failures:
        raise SystemExit(str(failures[0]))


if __name__ == "__main__":
    main()
