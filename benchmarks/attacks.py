"""The attacks of `benchmarks.neighbours`: programs for the attacker's container."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from textwrap import dedent

from attrs import frozen

from benchmarks.serving import LINES, WEBSOCKET
from tests.integration.guest_programs import python

#: What all attacks start with. Each defines ``attack``, which returns how
#: often it was done, and may define ``prepare`` and ``processes``.
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

#: What all attacks end with: runs the attack, and prints how often it was done,
#: and the processors that it used.
RUN_ATTACK = """
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
            # Blocking, but with a timeout.
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

#: Replays the whole history: only its last event is of the requested type.
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
                connection, end_of_data = connections[number]
                data = connection.recv(65536)
                received = end_of_data[-10:] + data
                connections[number][1] = received
                if not data or b'"device"' in received:
                    did += bool(data)
                    del connections[number]
                    connection.close()
                    open_one()
        return did
"""

#: How many subscribe in each way, and the requests.
SUBSCRIPTIONS = ["150", LINES.decode(), WEBSOCKET.decode()]

#: Subscribes and reads nothing. A connection that is closed is opened again.
SUBSCRIBERS = """
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
    """Return 2 MB with 100 000 keys; each value is different in each version."""
    value = f"{version:03}"
    return "".join(f"  user.k{n:06}: x{value}\n" for n in range(100_000))


def large_value(version: int) -> str:
    """Return a key with a value of 1 MB."""
    return f"  user.large: {str(version % 10) * 1_000_000}\n"


def history(version: int) -> str:
    """Return 100 keys of 30 KB, and a device in the last version."""
    value = f"{version:02}" * 15_000
    device = "devices: {d: {type: none}}\n" if version == HISTORY - 1 else ""
    return "".join(f"  user.k{n}: x{value}\n" for n in range(100)) + device


#: How many versions the attacker's document has before it replays their events.
HISTORY = 10


@frozen
class Attack:
    """An attack, and the limits for the victim's response times.

    :ivar unit: what is counted of it.
    :ivar program: the program that the attacker's root runs; empty for none.
    :ivar words: the program's arguments.
    :ivar document: returns the lines of a version of the attacker's document.
    :ivar past: the number of versions before the attack; 0 for a new version in
        each second of the attack.
    :ivar median: the limit of the median, in milliseconds.
    :ivar worst: the limit of the longest response time, in milliseconds.
    """

    unit: str = ""
    program: str = ""
    words: Sequence[str] = ()
    document: Callable[[int], str] | None = None
    past: int = 0
    median: float = 20
    worst: float = math.inf

    def command(self, seconds: float) -> list[str]:
        """Return the command that runs the program for some seconds."""
        program = ATTACK + dedent(self.program) + RUN_ATTACK
        return python(program, str(seconds), *self.words)


ATTACKS = {
    "idle": Attack(),
    "burn": Attack("turns", BURN),
    "flood": Attack("connects", FLOOD, ["waits", "closes"], median=50),
    "flood-keep": Attack("connects", FLOOD, ["waits", "keeps"], median=50),
    "flood-fork": Attack("connects", FLOOD, ["waits", "forks"], median=50),
    "rush": Attack("connects", FLOOD, ["does not", "closes"], median=50),
    "rush-keep": Attack("connects", FLOOD, ["does not", "keeps"], median=50),
    "rush-fork": Attack("connects", FLOOD, ["does not", "forks"], median=50),
    "pipelines": Attack("responses", PIPELINES, ["900"]),
    "replays": Attack("replays", REPLAYS, ["60"], history, HISTORY, median=50),
    "document": Attack(document=large_document, worst=250),
    "subscribers": Attack("connects", SUBSCRIBERS, SUBSCRIPTIONS, large_value),
}
