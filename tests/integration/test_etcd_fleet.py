"""A test of 10 000 containers in a real etcd, of which 1 000 change each second."""

from __future__ import annotations

import random
import shutil
import sys
import time
from http.client import HTTPConnection

from benchmarks.serving import cpu_seconds
from benchmarks.soaking.containers import (
    CheapMachine,
    LXCMachine,
    Machine,
    unified_hierarchy,
)
from tests.integration.etcd_cases import PREFIX
from tests.integration.etcd_fleet import Fleet
from tests.integration.etcd_members import PROGRAMS, EtcdMember
from tests.integration.etcd_writer import COUNTER
from tests.integration.guest_agents import GuestAgents
from tests.integration.guest_listener import (
    Connect,
    GuestListener,
    ask,
    every_change,
    over,
)
from tests.integration.lxc import make_home, missing_requirement, unique_name
from tests.integration.processes import ProcessTestCase, wait_until
from tests.integration.servers import DevLXD
from tests.integration.unix_relay import UnixRelay

CONTAINERS = 10_000

#: How many of them run: cheap ones, and real ones of LXC.
CHEAP, REAL = 14, 2

#: How many changes a second are wanted, and in all at least.
RATE, CHANGES = 1_000, 8_000

#: How many of the others are asked at the end.
VISITED = 50


class FleetTests(ProcessTestCase):
    """Sixteen guests that run listen, among 10 000 that change."""

    skip = missing_requirement(PROGRAMS)

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        for name in ("lxd", "lxd6"):
            (self.home / name).mkdir()
        self.agents = GuestAgents(self.home)
        self.addCleanup(self.agents.close)
        self.hierarchy = unified_hierarchy()
        self.guests = self.start_guests()
        self.member = EtcdMember(self.home, "--election-timeout=500")
        self.addCleanup(self.member.stop)
        self.member.start()
        self.member.wait()
        self.relay = UnixRelay(self.home / "relay.sock", self.member.socket)
        self.relay.__enter__()
        self.addCleanup(self.relay.__exit__)
        seed = random.randrange(2**32)
        sys.stdout.write(f"\nseed {seed}\n")
        self.chance = random.Random(seed)
        others = [f"c{number:05}" for number in range(CONTAINERS - CHEAP - REAL)]
        names = [*self.guests, *others]
        self.fleet = Fleet(
            self.member.client, PREFIX, names, list(self.guests), self.chance
        )
        self.fleet.create()

    def start_guests(self) -> dict[str, Connect]:
        """Start the containers that run; return how to connect in each."""
        machines: dict[str, Machine] = {
            f"guest{number}": CheapMachine(self.home, self.hierarchy)
            for number in range(CHEAP)
        }
        for _ in range(REAL):
            name = unique_name("real")
            machines[name] = LXCMachine(name, self.home)
        for name, machine in machines.items():
            self.addCleanup(machine.remove)
            machine.start(name)
        return {
            name: self.agents.connecting(name, machine)
            for name, machine in machines.items()
        }

    def serve(self) -> None:
        """Start devlxd, and wait until it has read all containers."""
        begin = time.monotonic()
        self.devlxd = DevLXD(
            f"--containers=etcd:unix:{self.relay.path}?prefix={PREFIX}",
            f"--listen={self.home}/lxd",
            f"--admin={self.home}/admin",
        )
        self.addCleanup(self.stop_serving)
        wait_until(lambda: self.operators("/healthz")[0] == 200, "all are read")
        took = time.monotonic() - begin
        memory = self.devlxd.memory() / 1024
        sys.stdout.write(f"{CONTAINERS} read in {took:.1f} s, {memory:.0f} MiB\n")

    def stop_serving(self) -> None:
        """Stop devlxd, and check its log."""
        self.devlxd.stop()
        self.assertNotIn("Traceback", "".join(self.devlxd.log))

    def operators(self, path: str) -> tuple[int, str]:
        """Ask as an operator; return the status and the body."""
        connection = HTTPConnection("devlxd")
        connection.sock = over(f"{self.home}/admin/sock")()
        connection.request("GET", path)
        with connection.getresponse() as response:
            found = response.status, response.read().decode()
        connection.close()
        return found

    def events(self) -> int:
        """Return how many events there were, of all containers."""
        metrics = self.operators("/metrics")[1].splitlines()
        (line,) = [line for line in metrics if line.startswith("devlxd_events_total ")]
        return int(float(line.split()[1]))

    def wait_for_changes(self, count: int) -> None:
        """Wait until there have been so many changes."""
        wait_until(lambda: self.fleet.changes >= count, f"{count} changes")

    def test_fleet(self) -> None:
        """Each change is heard once and in order; nothing that is asked is stale."""
        self.serve()
        listeners = {name: GuestListener(guest) for name, guest in self.guests.items()}
        for listener in listeners.values():
            listener.listen()
            self.addCleanup(listener.stop)
        begin, processor = time.monotonic(), cpu_seconds(self.devlxd.pid)
        with self.fleet.changing(RATE):
            self.wait_for_changes(CHANGES // 2)
            processor = cpu_seconds(self.devlxd.pid) - processor
            took = time.monotonic() - begin
            sys.stdout.write(
                f"{self.fleet.changes / took:.0f} changes a second: devlxd uses "
                f"{processor / took:.0%} of a processor\n"
            )
            self.relay.close_connections()
            self.wait_for_changes(CHANGES * 5 // 8)
            self.member.stop()
            self.member.start()
            self.wait_for_changes(CHANGES * 6 // 8)
            self.relay.cut()
            self.wait_for_changes(CHANGES * 7 // 8)
            self.relay.join()
            self.wait_for_changes(CHANGES)
        for name, listener in listeners.items():
            number = self.fleet.numbers[name]
            listener.wait_for(number)
            self.assertEqual(listener.heard, every_change(0, number), name)
            self.assertEqual(self.value(self.guests[name]), str(number), name)
        # Each change is one event, also of the containers in which nobody listens.
        wait_until(lambda: self.events() >= self.fleet.changes, "all events")
        self.assertEqual(self.events(), self.fleet.changes)
        self.check_others()

    def value(self, guest: Connect) -> str:
        """Ask for the counter in a guest."""
        return ask(guest, f"/1.0/config/{COUNTER}")[1]

    def check_others(self) -> None:
        """Ask in some of the containers that do not run otherwise."""
        for _ in range(20):
            self.fleet.replace()
        others = [name for name in self.fleet.numbers if name not in self.guests]
        visited = {
            name: CheapMachine(self.home, self.hierarchy)
            for name in self.chance.sample(others, VISITED)
        }
        for name, machine in visited.items():
            self.addCleanup(machine.remove)
            machine.start(name)
        for name, machine in visited.items():
            self.check_value(name, self.agents.connecting(name, machine))

    def check_value(self, name: str, guest: Connect) -> None:
        """Check what devlxd answers in a container."""
        wanted = str(self.fleet.numbers[name])
        wait_until(lambda: self.value(guest) == wanted, f"{name} reads {wanted}")
