"""What one container feels of another that attacks devlxd.

A victim and an attacker are real LXC containers. The victim asks for one of
its keys again and again, in four ways at once: with a new connection for each
question, with a new one that does not wait when it connects, as Go's do, on
one connection that stays open, and with curl. Printed is how long its answers
take in milliseconds, and how many questions fail, when all is quiet and under
each attack, and which of the targets were missed. In the row ``burn`` the
attacker only uses up the processors: that much is the scheduler's. A devlxd of
its own serves each row.

Needs root and ``apt-get install lxc curl``; run it in a checkout:
``python -m benchmarks.neighbours``. It takes some three minutes.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
import signal
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

from attrs import frozen

from benchmarks.serving import (
    LINES,
    WEBSOCKET,
    cpu_seconds,
    percentile,
    served_option,
    use,
)
from tests.integration.lxc import (
    Barrier,
    DevLXD,
    GuestError,
    LXCContainer,
    make_home,
    missing_requirement,
    python,
    unique_name,
)

#: How the victim asks, and what share of its questions may fail: a connect
#: that does not wait fails when the queue of the socket is full.
PROBES = {"new": 0.0, "kept": 0.0, "no wait": 0.02, "curl": 0.02}

#: Asks until its time is over, and prints how long each answer took, in
#: milliseconds, and how many questions failed.
PROBE = """
    import json, struct, subprocess, time
    how, seconds = sys.argv[1], float(sys.argv[2])
    TIMEOUT = 20
    CURL = ["curl", "-sSf", "-m", str(TIMEOUT), "-o", "/dev/null", "-w"]
    CURL += ["%{time_total}", "--unix-socket", "/dev/lxd/sock"]
    CURL += ["http://lxd/1.0/config/user.foo"]
    QUESTION = b"GET /1.0/config/user.foo HTTP/1.1\\r\\nHost: lxd\\r\\n\\r\\n"

    def opened():
        connection = socket.socket(socket.AF_UNIX)
        # With a timeout of Python's, connect would not wait.
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            patience = struct.pack("ll", TIMEOUT, 0)
            connection.setsockopt(socket.SOL_SOCKET, option, patience)
        connection.setblocking(how != "no wait")
        connection.connect("/dev/lxd/sock")
        connection.setblocking(True)
        return connection

    def question(connection):
        connection.sendall(QUESTION)
        answer = b""
        while not answer.endswith(b"victim"):
            data = connection.recv(4096)
            if not data:
                raise OSError("closed")
            answer += data

    kept = None
    times, failed = [], 0
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        try:
            if how == "curl":
                took = float(subprocess.check_output(CURL, stderr=-3))
            else:
                connection = kept or opened()
                question(connection)
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

#: Waits until a key has a value.
WAIT = """
    import time
    question = b"GET /1.0/config/%b HTTP/1.0\\r\\n\\r\\n" % sys.argv[1].encode()
    end = time.monotonic() + 50
    while ask(connect(), question) != sys.argv[2]:
        if time.monotonic() > end:
            sys.exit("it was never told")
        time.sleep(0.05)
"""

#: What attacks have in common. Each defines ``attack``, which returns how
#: much of it was done, and prepares itself before that.
ATTACK = """
import json, resource, select, time
_, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
seconds, words = float(sys.argv[1]), sys.argv[2:]
processes, prepare = 1, lambda: None

def is_over():
    return time.monotonic() > end

def send(request):
    connection = connect()
    connection.sendall(request)
    return connection
"""

#: Follows what an attack defines: does it, and prints how much of it.
DO = """
prepare()
host = arrive(b"attacker")
start = time.monotonic()
end = start + seconds
reader, writer = os.pipe()
for _ in range(processes):
    if os.fork() == 0:
        try:
            os.write(writer, b"%d\\n" % attack())
        finally:
            os._exit(0)
os.close(writer)
with open(reader) as counts:
    did = sum(map(int, counts))
for _ in range(processes):
    os.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([did, (used.ru_utime + used.ru_stime) / (time.monotonic() - start)]))
"""

BURN = """
    processes = 4
    def attack():
        did = 0
        while not is_over():
            did += 1
        return did
"""

FLOOD = """
    import struct
    waits, then = words
    processes = 4

    def one():
        connection = socket.socket(socket.AF_UNIX)
        if waits == "waits":
            # Blocking, but it shall end some day.
            second = struct.pack("ll", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, second)
        else:
            connection.setblocking(False)
        connection.connect("/dev/lxd/sock")
        return connection

    def in_a_child():
        pid = os.fork()
        if pid == 0:
            try:
                one()
            finally:
                os.close(2)
                os._exit(0)
        os.waitpid(pid, 0)

    def attack():
        did, kept = 0, []
        while not is_over():
            try:
                connection = in_a_child() if then == "forks" else one()
            except OSError:
                continue
            did += 1
            if then == "keeps":
                kept.append(connection)
                if len(kept) == 4000:
                    kept.clear()
        return did
"""

PIPELINES = """
    REQUESTS = b"GET /1.0/config/user.foo HTTP/1.1\\r\\nHost: lxd\\r\\n\\r\\n" * 500
    poll, connections = select.epoll(), {}

    def open_one():
        connection = connect()
        connection.setblocking(False)
        connections[connection.fileno()] = [connection, 0]
        poll.register(connection, select.EPOLLIN | select.EPOLLOUT)

    def prepare():
        for _ in range(int(words[0])):
            open_one()

    def attack():
        did = 0
        while not is_over():
            for number, events in poll.poll(1):
                connection, sent = connections[number]
                try:
                    if events & select.EPOLLOUT:
                        sent += connection.send(REQUESTS[sent:])
                        connections[number][1] = sent % len(REQUESTS)
                    if events & ~select.EPOLLOUT:
                        data = connection.recv(65536)
                        did += data.count(b"HTTP/1.1 200")
                        if not data:
                            raise OSError("closed")
                except BlockingIOError:
                    pass
                except OSError:
                    connections.pop(number)[0].close()
                    open_one()
        return did
"""

#: The last event of the history is the only one of the type that is asked for.
REPLAYS = """
    SINCE = b"GET /1.0/events?type=device&since=1970-01-01T00:00:00Z HTTP/1.1\\r\\n"
    poll, connections = select.epoll(), {}

    def open_one():
        connection = send(SINCE + b"Host: lxd\\r\\n\\r\\n")
        connections[connection.fileno()] = [connection, b""]
        poll.register(connection, select.EPOLLIN)

    def attack():
        did = 0
        for _ in range(int(words[0])):
            open_one()
        while not is_over():
            for number, _ in poll.poll(1):
                connection, told = connections[number]
                data = connection.recv(65536)
                connections[number][1] = told = told[-10:] + data
                if not data or b'"device"' in told:
                    did += bool(data)
                    del connections[number]
                    connection.close()
                    open_one()
        return did
"""

#: How many listen in each way, and the ways.
READERS = ["150", LINES.decode(), WEBSOCKET.decode()]

#: Who is cut off comes again.
LISTENERS = """
    poll, connections = select.poll(), {}

    def open_one(request):
        connection = send(request + b"\\r\\n")
        connections[connection.fileno()] = connection, request
        poll.register(connection, 0)

    def prepare():
        for _ in range(int(words[0])):
            open_one(words[1].encode())
            open_one(words[2].encode())

    def attack():
        did = len(connections)
        while not is_over():
            for number, _ in poll.poll(100):
                poll.unregister(number)
                connection, request = connections.pop(number)
                connection.close()
                open_one(request)
                did += 1
        return did
"""


def large_document(version: int) -> str:
    """Return 2 MB with 100 000 keys, each of which has another value each time."""
    value = f"{version:03}"
    return "".join(f"  user.k{n:06}: x{value}\n" for n in range(100_000))


def large_value(version: int) -> str:
    """Return a key with 1 MB."""
    return f"  user.large: {str(version % 10) * 1_000_000}\n"


def history(version: int) -> str:
    """Return 100 keys of 30 KB; the 10th version has a device as well."""
    value = f"{version:02}" * 15_000
    device = "devices: {d: {type: none}}\n" if version == HISTORY - 1 else ""
    return "".join(f"  user.k{n}: x{value}\n" for n in range(100)) + device


#: How many versions of the attacker's document there are before its replays.
HISTORY = 10


@frozen
class Attack:
    """One attack, and what the victim may feel of it.

    :ivar unit: what it does, as it is counted.
    :ivar program: what the attacker's root runs, if anything.
    :ivar words: the program's arguments.
    :ivar document: makes up the lines of a version of the attacker's document.
    :ivar past: how many versions there are before it begins; if there are
        none, there is another one each second.
    :ivar median: what the victim's median may be, in milliseconds.
    :ivar worst: how long it may wait at most, in milliseconds.
    """

    unit: str = ""
    program: str = ""
    words: Sequence[str] = ()
    document: Callable[[int], str] | None = None
    past: int = 0
    median: float = 20
    worst: float = math.inf


#: What 99 of 100 answers may take under any attack, in milliseconds.
P99 = 500.0

ATTACKS = {
    "idle": Attack(),
    "burn": Attack("turns", BURN),
    "flood": Attack("connects", FLOOD, ["waits", "closes"], median=50),
    "flood-keep": Attack("connects", FLOOD, ["waits", "keeps"], median=50),
    "flood-fork": Attack("connects", FLOOD, ["waits", "forks"], median=50),
    "rush": Attack("connects", FLOOD, ["does not", "closes"], median=50),
    "rush-keep": Attack("connects", FLOOD, ["does not", "keeps"], median=50),
    "rush-fork": Attack("connects", FLOOD, ["does not", "forks"], median=50),
    "pipelines": Attack("answers", PIPELINES, ["900"]),
    "replays": Attack("replays", REPLAYS, ["60"], history, HISTORY, median=50),
    "document": Attack(document=large_document, worst=250),
    "listeners": Attack("connects", LISTENERS, READERS, large_value),
}


class Neighbours:
    """The two containers, and the devlxd that serves them.

    :param home: a directory for all that they need.
    :param seconds: how long each attack lasts.
    """

    def __init__(self, home: Path, seconds: float) -> None:
        self._home = home
        self._seconds = seconds
        for name in ("documents", "lxd", "shared"):
            (home / name).mkdir()
        (home / "shared").chmod(0o777)
        binds = {home / "lxd": "dev/lxd", home / "shared": "run/shared"}
        self._attacker, self._victim = (
            LXCContainer(unique_name(word), home, 100_000, binds)
            for word in ("attacker", "victim")
        )

    def start(self, started: ExitStack) -> None:
        """Start the containers, until ``started`` is closed."""
        for container in (self._attacker, self._victim):
            container.start()
            started.callback(container.stop)

    def show(self, name: str, attack: Attack) -> None:
        """Attack, and print what the victim felt of it."""
        for container in (self._attacker, self._victim):
            self._write(container, "")
        documents, sockets = self._home / "documents", self._home / "lxd"
        devlxd = DevLXD(f"--containers={documents}", f"--listen={sockets}")
        try:
            for container in (self._attacker, self._victim):
                self._wait(container, "user.version", "none")
            for version in range(attack.past):
                self._write_version(attack, version)
                self._wait(self._attacker, "user.version", str(version))
            self._attack(name, attack, devlxd)
        finally:
            # What it still has to do nobody waits for.
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

    def _attack(self, name: str, attack: Attack, devlxd: DevLXD) -> None:
        with ThreadPoolExecutor() as pool, Barrier(self._home / "shared") as barrier:
            running: list[Future[str]] = []
            if attack.program:
                # Others begin a little later, and shall not see the end of it.
                command = attack_of(attack, self._seconds + 1)
                running.append(pool.submit(self._attacker.run, *command))
                barrier.wait_for(b"attacker")
            begun, used = time.monotonic(), cpu_seconds(devlxd.pid)
            probes = {
                how: pool.submit(
                    self._victim.run, *python(PROBE, how, str(self._seconds))
                )
                for how in PROBES
            }
            if attack.document and not attack.past:
                for version in itertools.count():
                    self._write_version(attack, version)
                    time.sleep(1)
                    if time.monotonic() > begun + self._seconds:
                        break
            for how, probe in probes.items():
                times, failed = json.loads(probe.result())
                print(row(name, how, times, failed, attack), flush=True)
            took = time.monotonic() - begun
            used = (cpu_seconds(devlxd.pid) - used) / took
            line = f"devlxd {used:.1f} CPUs, {peak(devlxd.pid):.0f} MiB at most"
            for one in running:
                line += f"; attacker {told_of(one, attack.unit)}"
            print(f"{'':10} {line}", flush=True)


def attack_of(attack: Attack, seconds: float) -> list[str]:
    """Return the command that attacks."""
    program = ATTACK + dedent(attack.program) + DO
    return python(program, str(seconds), *attack.words)


def told_of(attack: Future[str], unit: str) -> str:
    """Return how much was done, for the table."""
    try:
        did, used = json.loads(attack.result())
    except GuestError as error:
        return f"FAILED: {error}"
    return f"{used:.1f} CPUs, {did} {unit}"


def row(name: str, how: str, times: list[float], failed: int, attack: Attack) -> str:
    """Return a row of the table."""
    asked = len(times) + failed
    times = times or [math.inf]
    measured = {
        "median": (percentile(times, 50), attack.median),
        "p99": (percentile(times, 99), P99),
        "worst": (max(times), attack.worst),
        "failed": (failed, asked * PROBES[how]),
    }
    missed = [what for what, (value, limit) in measured.items() if value > limit]
    values = [value for value, _ in measured.values()]
    limits = f"{attack.median:.0f}/{P99:.0f}/{attack.worst:.0f}/{PROBES[how]:.0%}"
    return (
        f"{name:10} {how:8} {asked:6} {values[0]:8.1f} {values[1]:8.1f} "
        f"{values[2]:8.1f} {failed:7} {limits:>15}  "
        + ("MISSED: " + ", ".join(missed) if missed else "met")
    )


def peak(pid: int) -> float:
    """Return how much memory a process had resident at most, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def options() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    served_option(parser)
    parser.add_argument(
        "--seconds", type=float, default=10, help="how long each attack lasts"
    )
    parser.add_argument(
        "--only", action="append", choices=ATTACKS, help="what to run; default: all"
    )
    return parser.parse_args()


def main() -> None:
    """Attack in each way, and print."""
    given = options()
    problem = missing_requirement()
    if problem:
        raise SystemExit(problem)
    use(given.checkout)
    home = make_home()
    try:
        with ExitStack() as started:
            neighbours = Neighbours(home, given.seconds)
            neighbours.start(started)
            print(
                f"{'attack':10} {'asked':8} {'times':>6} {'median':>8} {'p99':>8} "
                f"{'worst':>8} {'failed':>7} {'at most':>15}"
            )
            for name in given.only or ATTACKS:
                neighbours.show(name, ATTACKS[name])
    finally:
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
