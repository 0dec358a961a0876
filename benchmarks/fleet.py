"""Measure a fleet of hosts that read their containers from a real etcd.

* 1, 100 and 1 000 simulated hosts with ten containers each, and one watch each: the
  time to list and to watch all prefixes, the time from the begin of a put until its
  host has the event, and the memory of etcd.
* One real devlxd with 10 000 containers: the time from its start until all are read,
  its memory, and the time from the begin of a put until a listening guest has the
  event, alone and while 1 000 other containers change each second, with the processor
  time of devlxd and of etcd meanwhile.

etcd runs alone on this machine, and does not wait for the disk
(``--unsafe-no-fsync``): the disk, and the way to the other members, are to be added to
each put. It needs Debian's ``etcd-server``, and no root. Run it in a checkout with
``python -m benchmarks.fleet``; ``--quick`` measures less.
"""

from __future__ import annotations

import json
import resource
import select
import shutil
import socket
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from random import Random
from typing import ClassVar

from attrs import frozen

from benchmarks.serving import cpu_seconds, percentile
from tests.integration.etcd_client import EtcdClient, encode, putting
from tests.integration.etcd_fleet import FIRST, Fleet
from tests.integration.etcd_members import EtcdMember
from tests.integration.etcd_writer import document
from tests.integration.guest_listener import ask, over
from tests.integration.lxc import make_home
from tests.integration.processes import wait_until
from tests.integration.servers import DevLXD

#: How many hosts there are in turn, and the containers of each.
HOSTS, CONTAINERS_EACH = (1, 100, 1000), 10

#: The containers of the real devlxd, and how many of them change each second.
CONTAINERS, RATE = 10_000, 1000

#: How many puts are timed.
PUTS, QUICK_PUTS = 2000, 200

#: How long the containers change, in seconds.
SECONDS, QUICK_SECONDS = 20, 3

#: The time between two timed puts meanwhile, in seconds.
PAUSE = 0.02

#: The size of a value, about that of a container with a few keys and devices.
SIZE = 1000

#: Makes a document as large as that.
FILLER = {"user.filler": "x" * (SIZE - len(document(0)) - 20)}


class Host:
    """A host that lists and watches the keys of its containers.

    :param client: for the list.
    :param path: the path of etcd's socket, for the watch.
    """

    def __init__(self, client: EtcdClient, path: Path, prefix: str) -> None:
        self.prefix = prefix
        # The prefix ends with a slash, which a zero follows.
        keys = {"key": encode(prefix), "range_end": encode(f"{prefix[:-1]}0")}
        listed = client.call("/kv/range", keys)
        self._connection = HTTPConnection("etcd")
        self._connection.sock = socket.socket(socket.AF_UNIX)
        self._connection.sock.connect(str(path))
        self._response = self._watch(keys, int(listed["header"]["revision"]) + 1)

    def _watch(self, keys: dict[str, str], revision: int) -> HTTPResponse:
        request = {**keys, "start_revision": revision, "fragment": True}
        body = json.dumps({"create_request": request})
        self._connection.request("POST", "/v3/watch", body)
        response = self._connection.getresponse()
        response.readline()
        return response

    def fileno(self) -> int:
        """Return the file descriptor of the watch."""
        fileno: int = self._connection.sock.fileno()
        return fileno

    def receive(self) -> None:
        """Read the line of one event."""
        self._response.readline()

    def close(self) -> None:
        """End the watch."""
        self._response.close()
        self._connection.close()


@frozen
class Row:
    """A row of the table.

    :ivar hosts: the number of hosts.
    :ivar containers: the number of containers of each.
    :ivar rate: how many containers change each second; 0 for one at a time.
    :ivar ready: the time until all were read, in seconds.
    :ivar times: from the begin of a put until the event has arrived, in seconds.
    :ivar etcd: the memory of etcd, in MiB.
    :ivar others: of the processes: what they need besides.
    """

    hosts: str
    containers: int
    rate: float
    ready: float
    times: Sequence[float]
    etcd: float
    others: str = ""

    TITLES: ClassVar = (
        f"{'hosts':12} {'containers':>10} {'changes/s':>9} {'ready':>8} {'median':>9} "
        f"{'p99':>9} {'etcd':>8}"
    )

    def __str__(self) -> str:
        """Return the line of the table."""
        rate = f"{self.rate:.0f}" if self.rate else "single"
        median = statistics.median(self.times) * 1000
        last = percentile(self.times, 99) * 1000
        return (
            f"{self.hosts:12} {self.containers:10} {rate:>9} {self.ready:6.2f} s "
            f"{median:6.2f} ms {last:6.2f} ms {self.etcd:4.0f} MiB  {self.others}"
        )


@contextmanager
def member() -> Iterator[EtcdMember]:
    """Run an etcd without any keys."""
    home = make_home()
    etcd = EtcdMember(home)
    etcd.start()
    try:
        etcd.wait()
        yield etcd
    finally:
        etcd.stop()
        shutil.rmtree(home)


def memory(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def settled_memory(pid: int) -> float:
    """Return the resident memory of a process in MiB, when it does not grow."""
    now = memory(pid)
    while (before := now) != (now := _later(pid)) and now > before:
        pass
    return now


def _later(pid: int) -> float:
    time.sleep(1)
    return memory(pid)


def measure_hosts(count: int, puts: int) -> Row:
    """Measure simulated hosts."""
    with member() as etcd, ExitStack() as stack:
        prefixes = [f"/devlxd/h{number}/" for number in range(count)]
        keys = [f"{p}c{n}" for p in prefixes for n in range(CONTAINERS_EACH)]
        for at in range(0, len(keys), FIRST):
            some = keys[at : at + FIRST]
            etcd.client.change(*(putting(key, document(0, FILLER)) for key in some))
        before, begin = settled_memory(etcd.pid), time.monotonic()
        hosts = [Host(etcd.client, etcd.socket, prefix) for prefix in prefixes]
        ready = time.monotonic() - begin
        poll = select.poll()
        for host in hosts:
            stack.callback(host.close)
            poll.register(host, select.POLLIN)
        chance = Random(1)

        def put(number: int) -> None:
            host = chance.choice(hosts)
            key = f"{host.prefix}c{chance.randrange(CONTAINERS_EACH)}"
            etcd.client.put(key, document(number, FILLER))
            ((descriptor, _event),) = poll.poll()
            assert descriptor == host.fileno(), "another host has the event"
            host.receive()

        times = [timed(put, number) for number in range(1, puts + 1)]
        now = settled_memory(etcd.pid)
        each = f"{(now - before) * 1024 / count:.0f} KiB of etcd a host"
        return Row(str(count), CONTAINERS_EACH, 0, ready, times, now, each)


def timed(put: Callable[[int], None], number: int) -> float:
    """Return how long a put takes, in seconds."""
    begin = time.perf_counter()
    put(number)
    return time.perf_counter() - begin


class FullHost:
    """A real devlxd, as the only host, and a guest that listens.

    :param etcd: has the documents.
    """

    PREFIX = "/devlxd/h1/"

    def __init__(self, etcd: EtcdMember) -> None:
        self._home = make_home()
        self._etcd = etcd
        address = f"etcd:unix:{etcd.socket}?prefix={self.PREFIX}"
        begin = time.monotonic()
        self.devlxd = DevLXD(
            f"--containers={address}",
            f"--listen=unix:{self._home}/sock",
            f"--admin={self._home}/admin",
            "--assume=guest",
        )
        self._guest = over(f"{self._home}/sock")
        wait_until(self._is_loaded, "all containers are read")
        self._starting = time.monotonic() - begin
        self._processor = cpu_seconds(self.devlxd.pid)
        self._connection = HTTPConnection("lxd")
        self._connection.sock = self._guest()
        self._connection.request("GET", "/1.0/events")
        self._events = self._connection.getresponse()

    def _is_loaded(self) -> bool:
        with suppress(OSError):
            return ask(over(f"{self._home}/admin/sock"), "/healthz")[0] == 200
        return False

    def put(self, number: int) -> None:
        """Change the guest's container, and wait for the event."""
        self._etcd.client.put(f"{self.PREFIX}guest", document(number, FILLER))
        while not self._events.readline().strip():
            pass

    def row(self, rate: float, times: Sequence[float], load: str = "") -> Row:
        """Return the row of what was measured."""
        load = load or f", processor until ready: {self._processor:.1f} s"
        others = f"devlxd {settled_memory(self.devlxd.pid):.0f} MiB{load}"
        memory = settled_memory(self._etcd.pid)
        return Row("1 real", CONTAINERS, rate, self._starting, times, memory, others)

    def stop(self) -> None:
        """Stop devlxd."""
        self._connection.close()
        self.devlxd.stop()
        shutil.rmtree(self._home)


def measure_devlxd(puts: int, seconds: float) -> Iterator[Row]:
    """Measure a real devlxd without, and with many changes."""
    with member() as etcd:
        names = [f"c{number:05}" for number in range(CONTAINERS - 1)]
        fleet = Fleet(
            *(EtcdClient(etcd.socket), FullHost.PREFIX),
            *(names, names[:2], Random(1), FILLER),
        )
        fleet.create()
        etcd.client.put(f"{FullHost.PREFIX}guest", document(0, FILLER))
        host = FullHost(etcd)
        try:
            times = [timed(host.put, number) for number in range(1, puts + 1)]
            yield host.row(0, times)
            used = [cpu_seconds(pid) for pid in (host.devlxd.pid, etcd.pid)]
            begin, times = time.monotonic(), []
            with fleet.changing(RATE):
                while time.monotonic() < begin + seconds:
                    times.append(timed(host.put, puts + len(times) + 1))
                    time.sleep(PAUSE)
            lasted = time.monotonic() - begin
            used = [
                (cpu_seconds(pid) - before) / lasted
                for pid, before in zip((host.devlxd.pid, etcd.pid), used, strict=True)
            ]
            load = f", processor: devlxd {used[0]:.0%}, etcd {used[1]:.0%}"
            yield host.row(fleet.changes / lasted, times, load)
        finally:
            host.stop()


def main() -> None:
    """Measure, and print the results."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="measure less")
    is_quick = parser.parse_args().quick
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    puts = QUICK_PUTS if is_quick else PUTS
    print(Row.TITLES)
    for count in HOSTS[:2] if is_quick else HOSTS:
        print(measure_hosts(count, puts), flush=True)
    for row in measure_devlxd(puts, QUICK_SECONDS if is_quick else SECONDS):
        print(row, flush=True)


if __name__ == "__main__":
    main()
