"""The attacks of `benchmarks.neighbours`: programs for the attacker's container."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from textwrap import dedent

from attrs import frozen

from benchmarks.serving import LINES, WEBSOCKET
from tests.integration.guest_programs import python

#: The start of the program of each attack. The program then defines ``attack``,
#: which returns the number of its operations, and may define ``prepare`` and
#: ``processes``.
PROLOGUE = """
import json, resource, select, time
_, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
seconds, arguments = float(sys.argv[1]), sys.argv[2:]
processes, prepare = 1, lambda: None

def is_over():
    return time.monotonic() > end

def send(request):
    connection = connect()
    connection.sendall(request)
    return connection
"""

#: The end of the program of each attack. It runs the attack, and prints the number
#: of operations and the processor time, in seconds per second.
EPILOGUE = """
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
    total = sum(map(int, counts))
for _ in range(processes):
    os.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([total, (used.ru_utime + used.ru_stime) / (time.monotonic() - start)]))
"""

#: Uses processor time only.
BURN = """
    processes = 4
    def attack():
        count = 0
        while not is_over():
            count += 1
        return count
"""

#: Opens connections. The arguments: whether connect() blocks, and whether a
#: connection is closed, kept, or opened in a child process that ends.
FLOOD = """
    import struct
    blocking, then = arguments
    processes = 4

    def open_one():
        connection = socket.socket(socket.AF_UNIX)
        if blocking == "blocking":
            # With settimeout() connect() would not block.
            second = struct.pack("ll", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, second)
        else:
            connection.setblocking(False)
        connection.connect("/dev/lxd/sock")
        return connection

    def open_in_child():
        pid = os.fork()
        if pid == 0:
            try:
                open_one()
            finally:
                os.close(2)
                os._exit(0)
        os.waitpid(pid, 0)

    def attack():
        count, kept = 0, []
        while not is_over():
            try:
                connection = open_in_child() if then == "forks" else open_one()
            except OSError:
                continue
            count += 1
            if then == "keeps":
                kept.append(connection)
                if len(kept) == 4000:
                    kept.clear()
        return count
"""

#: Sends pipelined requests without end. The argument: the number of connections.
PIPELINES = """
    REQUESTS = b"GET /1.0/config/user.foo HTTP/1.1\\r\\nHost: lxd\\r\\n\\r\\n" * 500
    poll, connections = select.epoll(), {}

    def open_one():
        connection = connect()
        connection.setblocking(False)
        connections[connection.fileno()] = [connection, 0]
        poll.register(connection, select.EPOLLIN | select.EPOLLOUT)

    def prepare():
        for _ in range(int(arguments[0])):
            open_one()

    def attack():
        count = 0
        while not is_over():
            for number, events in poll.poll(1):
                connection, sent = connections[number]
                try:
                    if events & select.EPOLLOUT:
                        sent += connection.send(REQUESTS[sent:])
                        connections[number][1] = sent % len(REQUESTS)
                    if events & ~select.EPOLLOUT:
                        data = connection.recv(65536)
                        count += data.count(b"HTTP/1.1 200")
                        if not data:
                            raise OSError("closed")
                except BlockingIOError:
                    pass
                except OSError:
                    connections.pop(number)[0].close()
                    open_one()
        return count
"""

#: Replays the whole history: only its last event is of the requested type. The
#: argument: the number of connections.
REPLAYS = """
    SINCE = b"GET /1.0/events?type=device&since=1970-01-01T00:00:00Z HTTP/1.1\\r\\n"
    poll, connections = select.epoll(), {}

    def open_one():
        connection = send(SINCE + b"Host: lxd\\r\\n\\r\\n")
        connections[connection.fileno()] = [connection, b""]
        poll.register(connection, select.EPOLLIN)

    def attack():
        count = 0
        for _ in range(int(arguments[0])):
            open_one()
        while not is_over():
            for number, _ in poll.poll(1):
                connection, end_of_data = connections[number]
                data = connection.recv(65536)
                received = end_of_data[-10:] + data
                connections[number][1] = received
                if not data or b'"device"' in received:
                    count += bool(data)
                    del connections[number]
                    connection.close()
                    open_one()
        return count
"""

#: The arguments of `SUBSCRIBERS`: the number of connections of each kind, and the
#: requests of both kinds.
SUBSCRIPTIONS = ["150", LINES.decode(), WEBSOCKET.decode()]

#: Subscribes and reads nothing. Replaces each connection that is closed.
SUBSCRIBERS = """
    poll, connections = select.poll(), {}

    def open_one(request):
        connection = send(request + b"\\r\\n")
        connections[connection.fileno()] = connection, request
        poll.register(connection, 0)

    def prepare():
        for _ in range(int(arguments[0])):
            open_one(arguments[1].encode())
            open_one(arguments[2].encode())

    def attack():
        count = len(connections)
        while not is_over():
            for number, _ in poll.poll(100):
                poll.unregister(number)
                connection, request = connections.pop(number)
                connection.close()
                open_one(request)
                count += 1
        return count
"""


def large_document(version: int) -> str:
    """Return 2 MB of config: 100 000 keys, with new values in each version."""
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


#: The number of versions of the attacker's document before their events are
#: replayed.
HISTORY = 10


@frozen
class Attack:
    """An attack, and the limits for the victim's response times.

    :ivar unit: the name of the operations that are counted.
    :ivar program: the program that the attacker's root runs; empty for none.
    :ivar arguments: the arguments of the program.
    :ivar document: returns the lines of a version of the attacker's document.
    :ivar versions: the number of versions before the attack; 0 for a new version
        in each second of the attack.
    :ivar median: the limit of the median, in milliseconds.
    :ivar worst: the limit of the longest response time, in milliseconds.
    """

    unit: str = ""
    program: str = ""
    arguments: Sequence[str] = ()
    document: Callable[[int], str] | None = None
    versions: int = 0
    median: float = 20
    worst: float = math.inf

    def command(self, seconds: float) -> list[str]:
        """Return the command that runs the program for some seconds."""
        program = PROLOGUE + dedent(self.program) + EPILOGUE
        return python(program, str(seconds), *self.arguments)


ATTACKS = {
    "idle": Attack(),
    "burn": Attack("loops", BURN),
    "flood": Attack("connects", FLOOD, ["blocking", "closes"], median=50),
    "flood-keep": Attack("connects", FLOOD, ["blocking", "keeps"], median=50),
    "flood-fork": Attack("connects", FLOOD, ["blocking", "forks"], median=50),
    "rush": Attack("connects", FLOOD, ["not blocking", "closes"], median=50),
    "rush-keep": Attack("connects", FLOOD, ["not blocking", "keeps"], median=50),
    "rush-fork": Attack("connects", FLOOD, ["not blocking", "forks"], median=50),
    "pipelines": Attack("responses", PIPELINES, ["900"]),
    "replays": Attack("replays", REPLAYS, ["60"], history, HISTORY, median=50),
    "document": Attack(document=large_document, worst=250),
    "subscribers": Attack("connects", SUBSCRIBERS, SUBSCRIPTIONS, large_value),
}
