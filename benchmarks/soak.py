"""Run devlxd under many kinds of guests for a long time; nothing may grow or be wrong.

A real ``twistd devlxd`` serves some real LXC containers and many cheap ones (see
`benchmarks.soaking.containers`). All at once, at a modest rate:

* documents appear, change, break, are repaired, renamed and removed; runs end;
* guests ask in many ways, and download images;
* guests listen, plain and with websockets, fast and slowly, and reconnect;
* guests misbehave; SIGHUP is sent; the operator's socket is asked.

Every answer is checked, and that each listener hears each change once and in order.
At the end it prints what was done, the memory, descriptors and tasks after a sixth of
the time and at the end, plots of them, and whether they are flat. The exit status is
1 if they are not, or if anything was wrong. Ctrl-C ends it with the report so far.

Needs root, and ``apt-get install lxc`` for LXC containers. Run it in a checkout with
``python -m benchmarks.soak --minutes 10``. It writes to a temporary directory only.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

from benchmarks.serving import HERE, CheckoutServer
from benchmarks.soaking import samples
from benchmarks.soaking.asking import Asker, Image
from benchmarks.soaking.containers import (
    Agents,
    CheapMachine,
    Guest,
    LXCMachine,
    Machine,
    unified_hierarchy,
)
from benchmarks.soaking.listening import Listener
from benchmarks.soaking.misbehaviour import Misbehaver
from benchmarks.soaking.operating import Operator
from benchmarks.soaking.report import Report
from benchmarks.soaking.watching import Watcher
from tests.integration.lxc import make_home, missing_requirement, unique_name

#: The average times between the actions of each operator, asker and misbehaver.
OPERATING, ASKING, MISBEHAVING, FLOODING, HANGUP = 2.0, 0.1, 0.3, 30.0, 20.0

#: That between requests to the operator's socket.
WATCHING = 1.0

#: How many askers and misbehavers there are, and listeners in each container.
ASKERS, MISBEHAVERS, LISTENERS, STALLED = 24, 8, 3, 4

#: How long everything happens before the measurements, in seconds, so that devlxd has
#: opened the files and started the threads that it keeps.
WARM_UP = 20.0

#: The sizes of the images, in bytes.
IMAGES = (100_000, 3_000_000, 12_000_000)

#: The environment of devlxd, as in packaging/systemd/devlxd.service.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}

#: How long devlxd may take to close everything after the guests, in seconds.
SETTLING_TIME = 60.0


class SoakedServer(CheckoutServer):
    """The devlxd under test."""

    def faults(self) -> Iterator[str]:
        """Yield the new lines of its log that begin a traceback."""
        last = ""
        for line in self._output.lines():
            if line.rstrip().endswith("Traceback (most recent call last):"):
                yield f"{last.strip()} {line.strip()}"
            last = line


class Soak:
    """One run.

    :param options: the command line.
    :param home: a directory for all files.
    """

    def __init__(self, options: Namespace, home: Path) -> None:
        self._options = options
        self._home = home
        self._random = Random(options.seed)
        self._report = Report()
        self._started = time.monotonic()
        self._is_over = asyncio.Event()
        for name in ("documents", "images", "shared", "lxd", "lxd6"):
            (home / name).mkdir()
        (home / "shared").chmod(0o755)
        self._images = [Image.create(home / "images", size) for size in IMAGES]
        self._server = SoakedServer(
            HERE,
            home / "lxd",
            f"--listen=lxd6={home}/lxd6",
            f"--containers={home}/documents",
            f"--images={home}/images",
            f"--admin={home}/admin.sock",
        )
        self._sampler = samples.Sampler(self._server.pid)
        self._operators: list[Operator] = []

    def _make_operators(self, agents: Agents) -> None:
        hierarchy = unified_hierarchy()
        machines: dict[str, Machine] = {}
        for word in range(self._options.lxc):
            name = unique_name(f"soak{word}")
            machines[name] = LXCMachine(name, self._home)
        for word in range(self._options.containers):
            machines[unique_name(f"c{word}")] = CheapMachine(self._home, hierarchy)
        for name, machine in machines.items():
            self._operators.append(
                Operator(
                    Guest(name, machine, agents),
                    self._home / "documents",
                    self._report,
                    Random(self._random.random()),
                    can_rename=isinstance(machine, CheapMachine),
                )
            )

    async def run(self) -> bool:
        """Run everything; return whether nothing was wrong."""
        agents = Agents(self._home / "shared" / "agents")
        serving = asyncio.create_task(agents.serve())
        self._make_operators(agents)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._is_over.set)
        seconds = self._options.minutes * 60
        try:
            await self._soak(min(WARM_UP, seconds / 4))
            before = await self._wait_until_closed()
            self._sampler = samples.Sampler(self._server.pid)
            await self._soak(seconds)
            after = await self._wait_until_closed(before)
        finally:
            serving.cancel()
            agents.close()
            for operator in self._operators:
                with self._report.counting("containers removed"):
                    await asyncio.to_thread(operator.guest.remove)
            status = self._server.stop()
            # twistd ends by the signal that it has received.
            if status not in (0, -signal.SIGTERM):
                self._report.fail("devlxd stops", f"exit status {status}")
        return self._print_report(before, after)

    async def _soak(self, seconds: float) -> None:
        """Start all containers, let everything happen, and stop all containers."""
        for operator in self._operators:
            await operator.start()
        print(f"{len(self._operators)} containers are up", flush=True)
        tasks = [asyncio.create_task(each) for each in self._activities()]
        end = time.monotonic() + seconds
        interval = min(5.0, seconds / 40)
        while time.monotonic() < end and not self._is_over.is_set():
            waiting = asyncio.ensure_future(self._is_over.wait())
            await asyncio.wait({waiting, *tasks}, timeout=interval)
            waiting.cancel()
            self._look(tasks)
        left = set(tasks)
        while left:
            # Before Python 3.12, wait_for() may ignore that it is cancelled.
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=1)
        for operator in self._operators:
            await operator.guest.stop()
        print("the containers are stopped", flush=True)

    def _look(self, tasks: list[asyncio.Task[None]]) -> None:
        """Take a sample, and check that devlxd and all activities go on."""
        self._check_server()
        for task in list(tasks):
            if task.done():
                tasks.remove(task)
                self._report.fail("the soak itself", repr(task.exception()))
        sample = self._sampler.sample()
        if len(self._sampler.samples) % 12 == 1:
            done, failed = self._report.done.total(), self._report.failed.total()
            line = next(lines for n, lines in enumerate(_rows({"": sample})) if n)
            mine = time.process_time() / (time.monotonic() - self._started)
            print(
                f"{line.strip()}   {done} right, {failed} failed, "
                f"{mine:.2f} CPUs for this",
                flush=True,
            )

    def _check_server(self) -> None:
        for fault in self._server.faults():
            self._report.fail("devlxd has logged a failure", fault)
        self._server.check_running()

    def _activities(self) -> Iterator[Coroutine[None, None, None]]:
        """Yield everything that happens at the same time."""
        *others, villain = self._operators
        report, seeds = self._report, self._random
        for operator in others:
            yield operator.operate(OPERATING)
            for _ in range(LISTENERS):
                random = Random(seeds.random())
                yield Listener(operator, report, random, life=20).listen()
        yield villain.operate_gently(OPERATING)
        address = str(self._home / "lxd" / "sock")
        for _ in range(ASKERS):
            random = Random(seeds.random())
            yield Asker(others, self._images, address, report, random).ask(ASKING)
        bad = Misbehaver(others, villain, report, Random(seeds.random()))
        for _ in range(MISBEHAVERS):
            yield bad.misbehave(MISBEHAVING)
        for _ in range(STALLED):
            yield bad.stall(40)
        yield bad.flood(FLOODING)
        yield self._hang_up()
        address = str(self._home / "admin.sock")
        watcher = Watcher(others, address, report, Random(seeds.random()))
        yield watcher.watch(WATCHING)
        yield watcher.follow(life=20)

    async def _hang_up(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * HANGUP)
            self._server.send_signal(signal.SIGHUP)
            self._report.done["SIGHUP"] += 1

    async def _wait_until_closed(
        self, before: samples.Sample | None = None
    ) -> samples.Sample:
        """Return a sample when devlxd has closed everything that guests have opened.

        :param before: an earlier sample; devlxd may take `SETTLING_TIME` until it has
            as few descriptors again. Default: until the number stays the same.
        """
        sampler = samples.Sampler(self._server.pid)
        sample = sampler.sample()
        end = time.monotonic() + SETTLING_TIME
        while time.monotonic() < end and not self._is_over.is_set():
            await asyncio.sleep(3)
            last, sample = sample, sampler.sample()
            most = before or last
            if sample.descriptors <= most.descriptors:
                return sample
        for link in Path(f"/proc/{self._server.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                print("still open:", os.readlink(link))
        return sample

    def _print_report(self, before: samples.Sample, after: samples.Sample) -> bool:
        print("", *self._report.lines(), "", sep="\n")
        taken = self._sampler.samples
        is_right = not self._report.failed
        if taken:
            first, last = samples.growth_of(taken)
            rows = {"before the guests": before, "after a sixth": first}
            rows |= {"at the end": last}
            print(*samples.plots(taken), "", sep="\n")
            print(*_rows(rows), "", sep="\n")
            for line, is_flat in samples.verdicts(taken, before, after):
                print(f"{'flat' if is_flat else 'NOT FLAT':9} {line}")
                is_right &= is_flat
        failed = self._report.failed.total()
        print(f"seed {self._options.seed}; {failed} failures: ", end="")
        print("flat and right" if is_right else "NOT RIGHT")
        return is_right


def _rows(rows: dict[str, samples.Sample]) -> Iterator[str]:
    return samples.table(rows)


def read_options() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="default: 10")
    parser.add_argument(
        "--containers", type=int, default=10, help="how many cheap ones; default: 10"
    )
    parser.add_argument(
        "--lxc", type=int, default=2, help="how many of LXC; default: 2"
    )
    parser.add_argument(
        "--seed", type=int, help="repeats the same choices; default: a random one"
    )
    options = parser.parse_args()
    if options.seed is None:
        options.seed = int.from_bytes(os.urandom(4), "big")
    return options


def main() -> None:
    """Run a soak; the exit status is 1 if anything was wrong."""
    options = read_options()
    if os.geteuid() != 0:
        raise SystemExit("needs root")
    problem = missing_requirement()
    if problem and options.lxc:
        print(f"no LXC containers: {problem}")
        options.lxc = 0
    os.environ.update(ENVIRONMENT)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    home = make_home()
    try:
        is_right = asyncio.run(Soak(options, home).run())
    finally:
        shutil.rmtree(home)
    sys.exit(not is_right)


if __name__ == "__main__":
    main()
