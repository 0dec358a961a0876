"""Restart devlxd under a real systemd while guests ask and listen.

The host is an LXC container with Debian trixie, systemd and the package of devlxd.
Its guests ask without a pause: with a connection for each question (``fresh``), on
connections that stay open (``kept``), and with questions whose second half comes
later (``half``). Others listen to events, with lines and with websockets. Meanwhile

* ``restarts``: the service is restarted 20 times, and the package is upgraded once,
  while 200 streams hear of 2000 new keys;
* ``kills``: the service is killed 5 times (``SIGKILL``); streams that have ended
  continue with ``since``;
* ``many streams``: the service is restarted once with 3000 streams.

A row of the table has the number of restarts, how long one took at most, the
questions, the connects that were refused, the questions that failed, the slowest
question, the streams, how often one has ended, and how many have heard every key once
and in order. After a kill, questions may fail and streams end.

Needs root and ``apt-get install lxc mmdebstrap``. Run it in a checkout with
``python -m benchmarks.systemd_restarts``; it takes about three minutes.
"""

from __future__ import annotations

import shutil
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.debian_packages import with_version
from tests.integration.lxc import make_home, missing_requirement, unique_name
from tests.integration.systemd_hosts import SERVICE, Result, SystemdHost
from tests.integration.test_deb import built_packages

#: The numbers of restarts, of streams and of keys, and of kills, and of many streams.
RESTARTS, STREAMS, KEYS, KILLS, MANY = 20, 200, 2000, 5, 3000
QUICK_RESTARTS, QUICK_KEYS, QUICK_KILLS, QUICK_MANY = 5, 300, 2, 1000

#: The number of callers of each kind in each guest.
CALLERS = 2

#: The time between two keys that are added, in seconds. devlxd keeps 1000 events of a
#: container: a stream that is further behind would receive ``lost``.
PACE = 0.03

#: The time between two restarts, in seconds, in which guests ask.
PAUSE = 0.5

#: The number of guests that share many streams. One may have 1024 connections.
GUESTS = ["c1", "c2", "c3", "c4"]

COLUMNS = ["", "times", "longest", "asked", "refused", "failed", "slowest", "streams"]
COLUMNS += ["ended", "flawless"]


def measure(
    host: SystemdHost,
    guests: Sequence[str],
    streams: int,
    keys: int,
    restarts: Sequence[Callable[[], None]],
) -> tuple[Result, float]:
    """Restart devlxd under load.

    :param streams: the number of streams of all guests.
    :param keys: the number of keys that are added meanwhile.
    :return: what the guests have experienced, and how long the longest restart took.
    """
    each = streams // len(guests) // 2
    load = host.start_load(guests, CALLERS, each, each)
    longest = 0.0
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(host.add_keys, guests, keys, PACE)
        for restart in restarts:
            start = time.monotonic()
            restart()
            longest = max(longest, time.monotonic() - start)
            time.sleep(PAUSE)
        adding.result()
    return load.stop(keys), longest


def print_row(name: str, times: int, keys: int, result: Result, longest: float) -> None:
    """Print a row of the table, and the errors of questions."""
    cells = [name, times, f"{longest:.2f} s", result.asked.total(), result.refused]
    cells += [result.failed.total(), f"{result.slowest:.2f} s", len(result.heard)]
    cells += [result.ended.total(), result.flawless(keys)]
    print("".join(f"{cell:>10}" for cell in cells))
    for error, count in (*result.failed.items(), *result.ended.items()):
        print(f"    {count} times {error}")


def main() -> None:
    """Run all of it."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="measure less")
    quick = parser.parse_args().quick
    if missing := missing_requirement():
        raise SystemExit(missing)
    (package,) = Path(built_packages().name, "trixie").glob("*.deb")
    home = make_home()
    host = SystemdHost(unique_name("restarts"), home)
    try:
        host.start(package)
        print(f"systemd-analyze security: {host.security()}")
        print("".join(f"{column:>10}" for column in COLUMNS))
        _measure_all(host, package, quick)
    finally:
        host.stop()
        shutil.rmtree(home)


def _measure_all(host: SystemdHost, package: Path, quick: bool) -> None:
    def restart() -> None:
        host.systemctl("restart", SERVICE)

    later = with_version(package, "1:1.0", host.home)

    def upgrade() -> None:
        host.install(later)

    def kill() -> None:
        host.signal("KILL")

    restarts, keys = (QUICK_RESTARTS, QUICK_KEYS) if quick else (RESTARTS, KEYS)
    steps = [*[restart] * restarts, upgrade]
    result, longest = measure(host, ["c1", "c2"], STREAMS, keys, steps)
    print_row("restarts", len(steps), keys, result, longest)
    steps = [kill] * (QUICK_KILLS if quick else KILLS)
    result, longest = measure(host, ["c3"], 20, 200, steps)
    print_row("kills", len(steps), 200, result, longest)
    names = [f"m{guest}" for guest in GUESTS]
    many = QUICK_MANY if quick else MANY
    result, longest = measure(host, names, many, 1, [restart])
    print_row("many", 1, 1, result, longest)


if __name__ == "__main__":
    main()
