"""Measure the memory and the disk space that devlxd needs for unread events.

* 100 and 300 subscribers, with lines and with websockets, that read nothing:
  the resident memory of each, after they have subscribed, after a change of a
  value of 1 MB, and after two more.
* Three times 1 000 subscribers that disconnect after a change of 1 MB: the
  resident memory that is left.
* 10 000 changes of a value of 100 KB that are read immediately: the size of the
  journal.

It opens about 1 000 connections at a time, and needs no root. Run it in a
checkout with ``python -m benchmarks.memory``; with ``--checkout DIR`` the devlxd
of another checkout is measured in turn with this one.
"""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socket import socket

from benchmarks.serving import (
    SUBSCRIPTIONS,
    OneContainerServer,
    checkouts,
    make_parser,
    open_files,
    print_row,
    wait_for_events,
)

#: The number of subscribers that connect and disconnect together: almost as many
#: as the connections that one container may have (docs/limits.rst).
CROWD = 1000

#: How often such subscribers connect and disconnect.
CROWDS = 3

#: How often the value of 100 KB changes.
CHANGES = 10_000

QUICK_CHANGES = 1_000

MB = 1_000_000

#: How long the memory must stay the same before it is recorded, in seconds.
SETTLING_TIME = 1.0

#: The values that were measured of one server, by their titles.
Measured = dict[str, float]


@contextmanager
def serving(checkout: Path) -> Iterator[OneContainerServer]:
    """Serve a container whose large value has caused an event before."""
    server = OneContainerServer(checkout)
    try:
        with server.subscribe(SUBSCRIPTIONS["lines"]) as reader:
            change(server, reader, "0")
        server.write({})
        yield server
    finally:
        server.stop()


def change(
    server: OneContainerServer, reader: socket, digit: str, size: int = MB
) -> None:
    """Change the large value, and wait until ``reader`` has received the event."""
    server.write({"user.large": digit * size})
    wait_for_events(reader)


def settled_memory(server: OneContainerServer) -> int:
    """Wait until the resident memory stays the same; return it in KiB."""
    seen, since = server.devlxd.memory(), time.monotonic()
    end = since + 20
    while time.monotonic() < min(since + SETTLING_TIME, end):
        time.sleep(0.1)
        now = server.devlxd.memory()
        if abs(now - seen) > 100:
            seen, since = now, time.monotonic()
    return server.devlxd.memory()


def wait_for_files(server: OneContainerServer, count: int) -> None:
    """Wait until devlxd has at most ``count`` open files."""
    end = time.monotonic() + 60
    while open_files(server.devlxd.pid) > count:
        if time.monotonic() > end:
            raise SystemExit(
                "devlxd does not close connections that clients have closed"
            )
        time.sleep(0.1)


def measure_subscribers(checkout: Path, kind: str, count: int) -> Measured:
    """Return the memory of each subscriber that reads nothing, in KiB."""
    with (
        serving(checkout) as server,
        server.subscribe(SUBSCRIPTIONS["lines"]) as reader,
    ):
        before = settled_memory(server)
        request = SUBSCRIPTIONS[kind]
        subscribers = [server.subscribe(request) for _ in range(count)]
        used = {"subscribed": settled_memory(server)}
        change(server, reader, "1")
        used["one change of 1 MB"] = settled_memory(server)
        for digit in "23":
            change(server, reader, digit)
        used["three changes"] = settled_memory(server)
        for subscriber in subscribers:
            subscriber.close()
    return {
        f"{count} {kind}, {what}": (memory - before) / count
        for what, memory in used.items()
    }


def measure_crowds(checkout: Path) -> Measured:
    """Return the memory during and after each crowd of subscribers, in MiB."""
    found: Measured = {}
    with (
        serving(checkout) as server,
        server.subscribe(SUBSCRIPTIONS["lines"]) as reader,
    ):
        files, before = open_files(server.devlxd.pid), settled_memory(server)
        for number in range(1, CROWDS + 1):
            subscribers = [
                server.subscribe(request)
                for request in SUBSCRIPTIONS.values()
                for _ in range(CROWD // 2)
            ]
            change(server, reader, str(number))
            most = server.devlxd.memory()
            for subscriber in subscribers:
                subscriber.close()
            wait_for_files(server, files)
            found[f"during crowd {number} of {CROWD}"] = (most - before) / 1024
            left = settled_memory(server) - before
            found[f"left after crowd {number}"] = left / 1024
    return found


def size_of(journal: Path) -> float:
    """Return the disk space that the files of a journal use, in MiB."""
    files = [path for path in journal.rglob("*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files) / 2**20


def measure_journal(checkout: Path, changes: int) -> Measured:
    """Return the size of the journal and of the process, in MiB."""
    found: Measured = {}
    most = 0.0
    with (
        serving(checkout) as server,
        server.subscribe(SUBSCRIPTIONS["lines"]) as reader,
    ):
        for number in range(1, changes + 1):
            change(server, reader, str(number % 10), 100_000)
            if number % (changes // 100) == 0:
                most = max(most, size_of(server.state))
            if number % (changes // 5) == 0:
                what = f"{number} changes of 100 KB"
                found[f"{what}, journal"] = size_of(server.state)
                found[f"{what}, memory"] = server.devlxd.memory() / 1024
        found["largest journal"] = most
    return found


def show(measured: Mapping[str, Measured], unit: str) -> None:
    """Print the measured values of all servers side by side."""
    rows: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for name, values in measured.items():
        for what, value in values.items():
            rows[what][name] = [value]
    for what, row in rows.items():
        print_row(what, row, unit)


def main() -> None:
    """Measure, and print the results."""
    options = make_parser(__doc__).parse_args()
    compared = checkouts(options.checkout)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for count in (100,) if options.quick else (100, 300):
        for kind in SUBSCRIPTIONS:
            found = {
                name: measure_subscribers(checkout, kind, count)
                for name, checkout in compared.items()
            }
            show(found, "KiB each")
    show({name: measure_crowds(path) for name, path in compared.items()}, "MiB")
    changes = QUICK_CHANGES if options.quick else CHANGES
    found = {name: measure_journal(path, changes) for name, path in compared.items()}
    show(found, "MiB")


if __name__ == "__main__":
    main()
