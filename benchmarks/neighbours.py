"""Measure the response times of one container while another attacks devlxd.

The victim and the attacker are real LXC containers. They share a socket, or have one
each (``--listen each:DIR``): both are measured, one after the other. The victim
requests one of its keys continuously, in four ways in parallel:

* ``new``: with a new connection for each request;
* ``kept``: on one connection that stays open;
* ``no wait``: with new connections whose connect() does not block, as in Go;
* ``curl``: with curl.

It prints the response times in milliseconds and the failed requests, without
an attack and during each, and the limits that were exceeded. In the row ``burn``
the attacker only uses processor time, which shows the effect of the kernel's
scheduler alone. Each row has a devlxd of its own.

Needs root and ``apt-get install lxc curl``. Run it in a checkout with ``python
-m benchmarks.neighbours``; it takes about six minutes. With ``--checkout DIR``
the devlxd of another checkout is attacked in turn with this one, at a shared socket.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
import signal
import time
from argparse import Namespace
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.attacks import ATTACKS, Attack
from benchmarks.serving import (
    AFTER,
    HERE,
    CheckoutServer,
    checkouts,
    cpu_seconds,
    make_parser,
    percentile,
)
from tests.integration.guest_programs import Barrier, python
from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import GuestError

#: How long each attack lasts, in seconds.
SECONDS = 10.0

QUICK_SECONDS = 4.0

#: How the victim sends requests, and the share of them that may fail: a connect()
#: that does not block fails while the queue of the socket is full.
PROBES = {"new": 0.0, "kept": 0.0, "no wait": 0.02, "curl": 0.02}

#: Sends requests for some seconds, and prints the response times, in
#: milliseconds, and the number of failed requests.
PROBE = """
    import json, struct, subprocess, time
    how, seconds = sys.argv[1], float(sys.argv[2])
    TIMEOUT = 20
    CURL = ["curl", "-sSf", "-m", str(TIMEOUT), "-o", "/dev/null", "-w"]
    CURL += ["%{time_total}", "--unix-socket", "/dev/lxd/sock"]
    CURL += ["http://lxd/1.0/config/user.foo"]
    REQUEST = b"GET /1.0/config/user.foo HTTP/1.1\\r\\nHost: lxd\\r\\n\\r\\n"

    def open_connection():
        connection = socket.socket(socket.AF_UNIX)
        # With settimeout(), connect() would not block.
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            timeout = struct.pack("ll", TIMEOUT, 0)
            connection.setsockopt(socket.SOL_SOCKET, option, timeout)
        connection.setblocking(how != "no wait")
        connection.connect("/dev/lxd/sock")
        connection.setblocking(True)
        return connection

    def request(connection):
        connection.sendall(REQUEST)
        response = b""
        while not response.endswith(b"victim"):
            data = connection.recv(4096)
            if not data:
                raise OSError("closed")
            response += data

    kept = None
    times, failed = [], 0
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        try:
            if how == "curl":
                took = float(subprocess.check_output(CURL, stderr=-3))
            else:
                connection = kept or open_connection()
                request(connection)
                took = time.perf_counter() - start
                if how == "kept":
                    kept = connection
                else:
                    connection.close()
            times.append(took * 1000)
        except (OSError, subprocess.CalledProcessError):
            kept = None
            failed += 1
        time.sleep(0.01)
    print(json.dumps([times, failed]))
"""

#: Waits until a key of the guest's config has a value.
WAIT = """
    import time
    request = b"GET /1.0/config/%b HTTP/1.0\\r\\n\\r\\n" % sys.argv[1].encode()
    end = time.monotonic() + 50
    while send_request(connect(), request) != sys.argv[2]:
        if time.monotonic() > end:
            sys.exit("the key never had the value")
        time.sleep(0.05)
"""

#: The limit of the 99th percentile during any attack, in milliseconds.
P99 = 500.0


class Neighbours:
    """The containers of the attacker and of the victim.

    :param home: a directory for all files.
    :param seconds: how long each attack lasts, in seconds.
    :param has_own: whether each container has a socket of its own.
    """

    def __init__(self, home: Path, seconds: float, has_own: bool) -> None:
        self._home = home
        self._seconds = seconds
        self._has_own = has_own
        for name in ("documents", "lxd", "shared"):
            (home / name).mkdir(parents=True)
        (home / "shared").chmod(0o777)
        self._attacker, self._victim = (
            self._container(unique_name(word)) for word in ("attacker", "victim")
        )

    def _container(self, name: str) -> LXCContainer:
        sockets = self._home / "lxd" / (name if self._has_own else "")
        sockets.mkdir(exist_ok=True)
        binds = {sockets: "dev/lxd", self._home / "shared": "run/shared"}
        return LXCContainer(name, self._home, 100_000, binds)

    def start(self, started: ExitStack) -> None:
        """Run the containers until ``started`` is closed."""
        for container in (self._attacker, self._victim):
            container.start()
            started.callback(container.stop)

    def measure(self, title: str, attack: Attack, checkout: Path) -> None:
        """Attack the devlxd of a checkout, and print the victim's response times."""
        for container in (self._attacker, self._victim):
            self._write(container, "")
        documents = f"--containers={self._home}/documents"
        devlxd = CheckoutServer(
            checkout,
            self._home / "lxd",
            documents,
            container=self._victim.name if self._has_own else "",
        )
        try:
            for container in (self._attacker, self._victim):
                self._wait(container, "user.version", "none")
            for version in range(attack.versions):
                self._write_version(attack, version)
                self._wait(self._attacker, "user.version", str(version))
            self._attack(title, attack, devlxd)
        finally:
            # SIGKILL, as it may still be busy with the attack.
            devlxd.stop(signal.SIGKILL)

    def _write(
        self, container: LXCContainer, lines: str, version: str = "none"
    ) -> None:
        word = container.name.rpartition("-")[2]
        head = f"config:\n  user.foo: {word}\n  user.version: '{version}'\n"
        new = self._home / "new"
        new.write_text(head + lines)
        new.rename(self._home / "documents" / f"{container.name}.yaml")

    def _write_version(self, attack: Attack, version: int) -> None:
        assert attack.document is not None
        self._write(self._attacker, attack.document(version), str(version))

    def _wait(self, container: LXCContainer, key: str, value: str) -> None:
        container.run(*python(WAIT, key, value))

    def _attack(self, title: str, attack: Attack, devlxd: CheckoutServer) -> None:
        with ThreadPoolExecutor() as pool, Barrier(self._home / "shared") as barrier:
            running: list[Future[str]] = []
            if attack.program:
                # The requests start a little later, and end before the attack.
                command = attack.command(self._seconds + 1)
                running.append(pool.submit(self._attacker.run, *command))
                barrier.wait_for(b"attacker")
            start, used = time.monotonic(), cpu_seconds(devlxd.pid)
            probes = {
                how: pool.submit(
                    self._victim.run, *python(PROBE, how, str(self._seconds))
                )
                for how in PROBES
            }
            if attack.document and not attack.versions:
                for version in itertools.count():
                    self._write_version(attack, version)
                    time.sleep(1)
                    if time.monotonic() > start + self._seconds:
                        break
            for how, probe in probes.items():
                times, failed = json.loads(probe.result())
                print(row(title, how, times, failed, attack), flush=True)
            took = time.monotonic() - start
            used = (cpu_seconds(devlxd.pid) - used) / took
            line = f"devlxd {used:.1f} CPUs, {peak(devlxd.pid):.0f} MiB at most"
            for one in running:
                line += f"; attacker {summary_of(one, attack.unit)}"
            print(f"{'':26} {line}", flush=True)


def summary_of(attack: Future[str], unit: str) -> str:
    """Return a summary of the output of an attack."""
    try:
        count, used = json.loads(attack.result())
    except GuestError as error:
        return f"FAILED: {error}"
    return f"{used:.1f} CPUs, {count} {unit}"


def row(title: str, how: str, times: list[float], failed: int, attack: Attack) -> str:
    """Return a row of the table.

    :param how: one of `PROBES`.
    :param times: the response times, in milliseconds.
    :param failed: the number of failed requests.
    """
    requests = len(times) + failed
    times = times or [math.inf]
    measured = {
        "median": (percentile(times, 50), attack.median),
        "p99": (percentile(times, 99), P99),
        "worst": (max(times), attack.worst),
        "failed": (failed, requests * PROBES[how]),
    }
    exceeded = [what for what, (value, limit) in measured.items() if value > limit]
    values = [value for value, _ in measured.values()]
    limits = f"{attack.median:.0f}/{P99:.0f}/{attack.worst:.0f}/{PROBES[how]:.0%}"
    return (
        f"{title:26} {how:8} {requests:8} {values[0]:8.1f} {values[1]:8.1f} "
        f"{values[2]:8.1f} {failed:7} {limits:>15}  "
        + ("EXCEEDED: " + ", ".join(exceeded) if exceeded else "kept")
    )


def peak(pid: int) -> float:
    """Return the peak resident memory of a process in MiB (proc(5), ``VmHWM``)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def read_options() -> Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--seconds", type=float, help="how long each attack lasts; default: 10"
    )
    parser.add_argument(
        "--only", action="append", choices=ATTACKS, help="the attack; default: all"
    )
    return parser.parse_args()


def main() -> None:
    """Run each attack, and print the results."""
    options = read_options()
    problem = missing_requirement()
    if problem:
        raise SystemExit(problem)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    home = make_home()
    try:
        with ExitStack() as started:
            shared = Neighbours(home / "shared", seconds, has_own=False)
            each = Neighbours(home / "each", seconds, has_own=True)
            for neighbours in (shared, each):
                neighbours.start(started)
            print(
                f"{'attack':26} {'how':8} {'requests':>8} {'median':>8} {'p99':>8} "
                f"{'worst':>8} {'failed':>7} {'limits':>15}"
            )
            for name in options.only or ATTACKS:
                for server, checkout in checkouts(options.checkout).items():
                    shared.measure(f"{name} {server}", ATTACKS[name], checkout)
                each.measure(f"{name} {AFTER} each:", ATTACKS[name], HERE)
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
