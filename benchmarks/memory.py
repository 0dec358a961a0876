"""What memory and disk devlxd takes for listeners that do not read, and events.

Printed is, for 100 and for 300 listeners, with lines and with websockets, how
much more memory devlxd has resident for each of them: when they have come,
when they were told of a value of 1 MB, none of which they read, and when they
were told of two more. Then, three times, 1 000 of them come, are told of 1 MB,
and go: printed is how much more than at first is resident afterwards. At last
a value of 100 KB changes 10 000 times, and is read each time: printed is how
much disk the journal takes.

It needs 20 000 open files at most, and no root; run it in a checkout:
``python -m benchmarks.memory``.
"""

from __future__ import annotations

import resource
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket

from benchmarks.serving import (
    LISTENERS,
    Host,
    open_files,
    served_option,
    wait_for_events,
)

#: How many come and go, and how often: as many as one container may have.
CROWD = 1000
CROWDS = 3

#: How often the value of 100 KB changes.
CHANGES = 10_000

MB = 1_000_000

#: When memory is taken to be what it will be: as much as this many seconds ago.
STILL = 1.0


@contextmanager
def serving(checkout: Path) -> Iterator[Host]:
    """Serve a container whose large value has been told of once."""
    host = Host(checkout)
    try:
        with host.listen(LISTENERS["lines"]) as listener:
            change(host, listener, "0")
        host.write({})
        yield host
    finally:
        host.stop()


def change(host: Host, listener: socket, digit: str, size: int = MB) -> None:
    """Change the large value, and wait until ``listener`` was told of it."""
    host.write({"user.large": digit * size})
    wait_for_events(listener)


def resident(host: Host) -> int:
    """Return how much memory is resident when that does not change any more, in KiB."""
    seen, since = host.devlxd.memory(), time.monotonic()
    end = since + 20
    while time.monotonic() < min(since + STILL, end):
        time.sleep(0.1)
        now = host.devlxd.memory()
        if abs(now - seen) > 100:
            seen, since = now, time.monotonic()
    return host.devlxd.memory()


def wait_for_files(host: Host, count: int) -> None:
    """Wait until devlxd has closed what was closed."""
    end = time.monotonic() + 60
    while open_files(host.devlxd.pid) > count:
        if time.monotonic() > end:
            raise SystemExit("devlxd keeps what was closed")
        time.sleep(0.1)


def measure_listeners(checkout: Path, kind: str, count: int) -> None:
    """Print what listeners that read nothing take."""
    with serving(checkout) as host, host.listen(LISTENERS["lines"]) as reader:
        before = resident(host)
        listeners = [host.listen(LISTENERS[kind]) for _ in range(count)]
        taken = [resident(host)]
        change(host, reader, "1")
        taken.append(resident(host))
        for digit in "23":
            change(host, reader, digit)
        taken.append(resident(host))
        for listener in listeners:
            listener.close()
    come, one, three = ((memory - before) / count for memory in taken)
    print(
        f"{count} {kind:10} {come:8.0f} KiB each, after one change of 1 MB "
        f"{one:6.0f}, after three {three:6.0f}",
        flush=True,
    )


def measure_crowds(checkout: Path) -> None:
    """Print what listeners that came and went leave."""
    with serving(checkout) as host, host.listen(LISTENERS["lines"]) as reader:
        files, before = open_files(host.devlxd.pid), resident(host)
        for number in range(CROWDS):
            half = CROWD // 2
            listeners = [
                host.listen(request)
                for request in LISTENERS.values()
                for _ in range(half)
            ]
            change(host, reader, str(number + 1))
            most = host.devlxd.memory()
            for listener in listeners:
                listener.close()
            wait_for_files(host, files)
            left = (resident(host) - before) / 1024
            print(
                f"{CROWD} came and went: {left:8.1f} MiB left, "
                f"{(most - before) / 1024:8.1f} MiB while they were there",
                flush=True,
            )


def disk(host: Host) -> float:
    """Return how much disk the journal takes, in MiB."""
    files = [path for path in host.state.rglob("*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files) / 2**20


def measure_journal(checkout: Path) -> None:
    """Print how large the journal becomes."""
    with serving(checkout) as host, host.listen(LISTENERS["lines"]) as reader:
        most = 0.0
        start = time.monotonic()
        for number in range(1, CHANGES + 1):
            change(host, reader, str(number % 10), 100_000)
            if number % (CHANGES // 100) == 0:
                most = max(most, disk(host))
            if number % (CHANGES // 5) == 0:
                print(
                    f"{number:5} changes of 100 KB: {disk(host):8.1f} MiB of journal, "
                    f"{most:.1f} at most, {host.devlxd.memory() / 1024:.0f} MiB of "
                    f"memory, {time.monotonic() - start:.0f} s",
                    flush=True,
                )


def main() -> None:
    """Measure, and print."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    served_option(parser)
    checkout = parser.parse_args().checkout
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for count in (100, 300):
        for kind in LISTENERS:
            measure_listeners(checkout, kind, count)
    measure_crowds(checkout)
    measure_journal(checkout)


if __name__ == "__main__":
    main()
