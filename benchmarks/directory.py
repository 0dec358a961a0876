"""Measure the time to read 10 000 containers, and the blocking of the reactor.

A real ``twistd devlxd`` reads a directory with one document per container, as
at every start. The results are the time until all are read, and the longest
time for which its reactor did nothing else; then that time while 1 000 documents
change. Run it in a checkout with ``python -m benchmarks.directory``; with
``--checkout DIR`` another checkout is measured in turn with this one.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path

from attrs import frozen

from benchmarks.serving import (
    CheckoutServer,
    checkouts,
    in_turns,
    make_parser,
    print_row,
)
from tests.integration.lxc import make_home
from tests.integration.processes import TIMEOUT, wait_until

ROUNDS = 3

QUICK_ROUNDS = 1

CONTAINERS = 10_000

CHANGES = 1_000

#: About forty lines, as ``lxc config show --expanded`` prints them.
DOCUMENT = """\
architecture: x86_64
config:
  user.name: c{n}
  user.value: "{value}"
  user.user-data: |
    #cloud-config
    packages: [curl, git, vim]
    runcmd:
    - [echo, hello]
  limits.cpu: "2"
  limits.memory: 2GiB
  volatile.cloud-init.instance-id: b2796b7a-3fec-4ed7-bd65-{n:012d}
  volatile.idmap.current: '[{{"Isuid":true,"Isgid":false,"Hostid":100000,"Nsid":0,"Maprange":65536}}]'
  volatile.uuid: 70d019a5-78f3-41cc-89e5-{n:012d}
devices:
  eth0: {{type: nic, nictype: ipvlan, parent: eth0, ipv4.address: 10.0.0.1}}
  root: {{type: disk, path: /, pool: default}}
ephemeral: false
profiles: [default]
stateful: false
description: ""
"""  # noqa: E501 # as LXD writes it

#: Runs twistd with a probe in its reactor. A client that connects to the
#: probe's socket receives a JSON list of two times in seconds:
#:
#: * the longest time in which the reactor ran no timed call; once all containers
#:   are read, since the last client connected;
#: * the time from the start of the reactor until all containers were read;
#:   ``null`` before that.
#:
#: The probe takes the containers as read when Python's garbage collector is
#: enabled: devlxd disables it while it reads them.
TWISTD_WITH_PROBE = """
import gc, json, sys, time
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.scripts.twistd import run

class Probe(Protocol):
    loaded = None

    @classmethod
    def start(cls):
        if gc.isenabled():
            sys.exit("the garbage collector is enabled while devlxd reads")
        cls.started = cls.last = time.perf_counter()
        cls.longest = 0.0
        cls.tick()

    @classmethod
    def tick(cls):
        now = time.perf_counter()
        cls.longest = max(cls.longest, now - cls.last)
        cls.last = now
        if cls.loaded is None and gc.isenabled():
            cls.loaded = now - cls.started
        reactor.callLater(0, cls.tick)

    def connectionMade(self):
        self.transport.write(json.dumps([Probe.longest, Probe.loaded]).encode())
        self.transport.loseConnection()
        if Probe.loaded is not None:
            Probe.longest = 0.0

reactor.listenUNIX(sys.argv.pop(1), Factory.forProtocol(Probe))
reactor.callWhenRunning(Probe.start)
run()
"""


@frozen
class Measured:
    """The measured times of one devlxd.

    :ivar reading: the time until all containers were read, in seconds.
    :ivar blocked: the longest time in which the reactor was blocked meanwhile, in
        milliseconds.
    :ivar blocked_by_changes: the longest such time while documents changed, in
        milliseconds.
    """

    reading: float
    blocked: float
    blocked_by_changes: float


def measure(checkout: Path) -> Measured:
    """Measure a devlxd that reads all documents, and then changed documents.

    :param checkout: the checkout of that devlxd.
    """
    home = make_home()
    documents = home / "documents"
    documents.mkdir()
    for n in range(CONTAINERS):
        (documents / f"c{n}.yaml").write_text(DOCUMENT.format(n=n, value=0))
    probe = home / "probe"
    # A file, as with "-c" Python would import this checkout's devlxd first.
    twistd = home / "twistd.py"
    twistd.write_text(TWISTD_WITH_PROBE)
    devlxd = CheckoutServer(
        checkout,
        home,
        f"--assume=c{CHANGES - 1}",
        f"--containers={documents}",
        twistd=(sys.executable, str(twistd), str(probe)),
    )
    try:
        blocked, reading = wait_until(lambda: read_if_loaded(probe), "all are read")
        for n in range(CHANGES):
            (documents / f"c{n}.yaml").write_text(DOCUMENT.format(n=n, value=1))
        wait_until(lambda: value_of(home / "sock") == "1", "the last change is known")
        by_changes, _ = json.loads(receive(probe))
    finally:
        devlxd.stop()
        shutil.rmtree(home)
    return Measured(reading, blocked * 1000, by_changes * 1000)


def read_if_loaded(probe: Path) -> tuple[float, float] | None:
    """Return the times from the probe, or ``None`` until all containers are read.

    :return: the blocking and the reading time, in seconds.
    """
    blocked, reading = json.loads(receive(probe))
    return None if reading is None else (blocked, reading)


def value_of(path: Path) -> str:
    """Return the value of the key that is changed."""
    request = b"GET /1.0/config/user.value HTTP/1.0\r\n\r\n"
    return receive(path, request).rpartition(b"\r\n\r\n")[2].decode()


def receive(path: Path, request: bytes = b"") -> bytes:
    """Connect to a socket, send a request, and return all received data."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(str(path))
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def main() -> None:
    """Measure, and print the results."""
    options = make_parser(__doc__).parse_args()
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    found = in_turns(checkouts(options.checkout), rounds, measure)
    for what, field, unit in (
        (f"{CONTAINERS} containers read", "reading", "s"),
        ("reactor blocked meanwhile", "blocked", "ms at most"),
        (f"reactor blocked by {CHANGES} changes", "blocked_by_changes", "ms at most"),
    ):
        rows = {name: [getattr(m, field) for m in all_] for name, all_ in found.items()}
        print_row(what, rows, unit)


if __name__ == "__main__":
    main()
