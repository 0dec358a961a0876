"""Tests of events in real containers, under load, and after crashes."""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration import agent
from tests.integration.guest_programs import Barrier, python
from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import TIMEOUT, ProcessTestCase, run
from tests.integration.servers import DevLXD, ServerProcess

#: Programs that subscribe, each with a different client, and send the events to the
#: host.
CLIENTS = {
    b"websocket": """
        sys.path.insert(0, "/run/websockets")
        from websockets.sync.client import unix_connect
        with unix_connect("/dev/lxd/sock", "ws://lxd/1.0/events") as events:
            host = arrive(b"websocket")
            for message in events:
                host.sendall(message.encode())
    """,
    b"curl": """
        import subprocess
        command = "curl -siN --unix-socket /dev/lxd/sock http://lxd/1.0/events".split()
        curl = subprocess.Popen(command, stdout=-1)
        assert curl.stdout.readline().startswith(b"HTTP/1.1 200")
        while curl.stdout.readline().strip():
            pass
        host = arrive(b"curl")
        for line in curl.stdout:
            host.sendall(line)
    """,
    b"stream": """
        from http.client import HTTPConnection
        events = HTTPConnection("unix")
        events.sock = connect()
        events.request("GET", "/1.0/events")
        response = events.getresponse()
        host = arrive(b"stream")
        while line := response.readline():
            host.sendall(line)
    """,
}


class ContainerTests(ProcessTestCase):
    """Three kinds of clients in a real container."""

    skip = missing_requirement()

    def test_clients(self) -> None:
        """Each client receives one event for every change, in order, and no others."""
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        for name in ("documents", "lxd", "shared"):
            (home / name).mkdir()
        (home / "shared").chmod(0o777)
        import websockets  # noqa: PLC0415 # only where containers can be run

        # A copy, as guests may not be able to traverse the original directory.
        package = home / "websockets"
        shutil.copytree(Path(websockets.__file__).parent, package)
        binds = {
            home / "lxd": "dev/lxd",
            home / "shared": "run/shared",
            package: "run/websockets/websockets",
        }
        container = LXCContainer(unique_name("c"), home, 100_000, binds)
        document = home / "documents" / f"{container.name}.yaml"
        document.write_text("config: {}\n")
        devlxd = DevLXD(f"--containers={home}/documents", f"--listen={home}/lxd")
        self.addCleanup(devlxd.stop)
        container.start()
        self.addCleanup(container.stop)
        with ThreadPoolExecutor() as pool, Barrier(home / "shared") as barrier:
            for client in CLIENTS.values():
                pool.submit(container.run, *python(client))
            latest = 0.0
            connections = [barrier.wait_for(name)[0] for name in CLIENTS]
            for text, expected in (
                ("config: {user.a: b}", ("config", "b")),
                (
                    "config: {user.a: b}\ndevices: {d: {type: none}}",
                    ("device", "added"),
                ),
                (
                    "config: {user.a: b}\ndevices: {d: {type: nic}}",
                    ("device", "updated"),
                ),
                ("config: {user.a: b}", ("device", "removed")),
            ):
                document.write_text(text + "\n")
                closed = time.monotonic()
                for connection in connections:
                    event = json.loads(next_line(connection))
                    latest = max(latest, time.monotonic() - closed)
                    metadata = event["metadata"]
                    what = metadata.get("action", metadata.get("value"))
                    got = (event["type"], what)
                    self.assertEqual(got, expected)
            document.unlink()
        sys.stdout.write(f"\nthe latest event came after {latest * 1000:.1f} ms\n")


def next_line(connection: socket.socket) -> bytes:
    """Receive a line; skip empty lines, which only keep the stream alive."""
    while not (line := connection.recv(10_000)).strip():
        assert line, "the stream has ended"
    return line


class View:
    """The config of a container, computed from its events.

    Each event is checked against the previous one.

    :ivar config: the config after the last event.
    :ivar last: the timestamp of the last event.
    :ivar events: the number of events.
    """

    def __init__(self) -> None:
        self.config: dict[str, str] = {}
        self.last = ""
        self.events = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Process a part of the body of an HTTP/1.0 response."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in filter(None, lines):
            event = json.loads(line)
            metadata = event["metadata"]
            if self.config.get(metadata["key"], "") != metadata["old_value"]:
                raise AssertionError(f"{self.config} is not followed by {event}")
            if event["timestamp"] <= self.last:
                raise AssertionError(f"{self.last} is not followed by {event}")
            self.last = event["timestamp"]
            self.config[metadata["key"]] = metadata["value"]
            self.events += 1


def subscribe(
    path: str, container: int | None = None, since: str = ""
) -> socket.socket:
    """Subscribe to events, and wait for the head of the response.

    :param container: the number of a container of `agent`; default: none, for a
        devlxd with ``--assume``.
    :param since: the timestamp to replay events from.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT)
    if container is not None:
        connection.bind(agent.address_of(container))
    connection.connect(path)
    query = f"?since={since}" if since else ""
    connection.sendall(f"GET /1.0/events{query} HTTP/1.0\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    return connection


def wait_for(views: dict[socket.socket, View], key: str, value: str) -> None:
    """Feed each view with its events until ``key`` has ``value`` in all of them."""
    for connection, view in views.items():
        read_until(connection, view, lambda config: config.get(key) == value)


def read_until(
    connection: socket.socket, view: View, done: Callable[[dict[str, str]], bool]
) -> None:
    """Feed a view with its events until ``done`` returns true for its config."""
    end = time.monotonic() + TIMEOUT
    while not done(view.config):
        assert time.monotonic() < end, f"only {view.config} until {view.last}"
        data = connection.recv(65536)
        assert data, "the stream has ended"
        view.feed(data)


def feed_pending(views: dict[socket.socket, View]) -> None:
    """Feed each view with the events that have arrived."""
    ready, _, _ = select.select(views, [], [], 0)
    for connection in ready:
        data = connection.recv(65536)
        assert data, "the stream has ended"
        views[connection].feed(data)


def read_to_the_end(connection: socket.socket) -> bytes:
    """Receive the rest of a stream that devlxd has closed."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


class StressTests(ProcessTestCase):
    """Many changes, many subscribers, and a devlxd that is stopped or killed."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        self.documents = self.home / "documents"
        self.documents.mkdir()
        self.socket = str(self.home / "sock")

    def write(self, name: str, **config: object) -> None:
        """Write the document of a container in place."""
        text = json.dumps({"config": {f"user.{k}": str(v) for k, v in config.items()}})
        (self.documents / f"{name}.json").write_text(text)

    def serve(self) -> ServerProcess:
        """Start the agent."""
        command = [sys.executable, str(Path(agent.__file__).absolute())]
        server = ServerProcess(*command, str(self.documents), self.socket)
        self.addCleanup(server.stop)
        return server

    def test_overflow(self) -> None:
        """After overflows of the inotify queue, all views become correct again."""
        containers = 200
        for n in range(containers):
            self.write(f"c{n}")
        server = self.serve()
        views = {subscribe(self.socket, n): View() for n in range(containers)}
        writes = 0
        for part in range(10):
            # More than the inotify queue holds: 16 384 events (inotify(7)).
            if part % 3 == 1:
                server.send_signal(signal.SIGSTOP)
            for _ in range(10_000):
                self.write(f"c{writes % containers}", n=writes, **{f"k{part}": part})
                writes += 1
                # devlxd closes streams that are not read for 30 s.
                if writes % 1000 == 0:
                    feed_pending(views)
            server.send_signal(signal.SIGCONT)
        for n in range(containers):
            self.write(f"c{n}", zzz=n)
        for n, (connection, view) in enumerate(views.items()):
            wait_for({connection: view}, "user.zzz", str(n))
        self.assertEqual(writes, 100_000)
        for n, (connection, view) in enumerate(views.items()):
            known = {key: value for key, value in view.config.items() if value}
            self.assertEqual(known, {"user.zzz": str(n)})
            connection.close()
        server.stop()
        self.assertIn("were lost", "".join(server.log))

    def test_killed(self) -> None:
        """A killed devlxd loses no event, and sends none twice."""
        self.write("c")
        arguments = [
            f"--containers={self.documents}",
            f"--listen={self.socket}",
            f"--state={self.home}/state",
            "--assume=c",
        ]
        devlxd = DevLXD(*arguments)
        view = View()
        connection = subscribe(self.socket)
        for n in range(1, 2001):
            self.write("c", n=n)
            if n % 500 == 250:
                self.feed_until(connection, view, n - 249)
                devlxd.stop(signal.SIGKILL)
                connection.close()
            if n % 500 == 300:
                devlxd = DevLXD(*arguments)
                connection = subscribe(self.socket, since=view.last)
        wait_for({connection: view}, "user.n", "2000")
        connection.close()
        devlxd.stop()

    def feed_until(self, connection: socket.socket, view: View, least: int) -> None:
        """Feed a view until ``user.n`` is at least ``least``.

        devlxd keeps 1000 events: the view must not be further behind.
        """
        read_until(
            connection, view, lambda config: int(config.get("user.n", "0")) >= least
        )

    def test_mounted_over(self) -> None:
        """A directory mounted over a container's is read until it is unmounted."""
        inside, over = self.documents / "c0", self.home / "over"
        for path, value in ((inside, "under"), (over, "over")):
            path.mkdir()
            (path / "config.yaml").write_text(f"config: {{user.a: {value}}}\n")
        self.serve()
        connection, view = subscribe(self.socket, 0), View()
        view.config["user.a"] = "under"
        views = {connection: view}
        run("mount", "--bind", str(over), str(inside))
        wait_for(views, "user.a", "over")
        (over / "config.yaml").write_text("config: {user.a: changed}\n")
        wait_for(views, "user.a", "changed")
        run("umount", str(inside))
        wait_for(views, "user.a", "under")
        connection.close()

    def test_slow_readers(self) -> None:
        """Ten of 1000 subscribers do not read; the others receive every event."""
        self.write("c0")
        server = self.serve()
        before = server.memory()
        views = {subscribe(self.socket, 0): View() for _ in range(990)}
        slow = [subscribe(self.socket, 0) for _ in range(10)]
        subscribed = server.memory()
        for n in range(1, 301):
            self.write("c0", n=n, filler=f"{n}" * 5000)
            wait_for(views, "user.n", str(n))
        after = server.memory()
        sys.stdout.write(
            f"\nresident memory: {before} KiB at the start, {subscribed} with 1000 "
            f"subscribers, {after} after 600 events for each\n"
        )
        read = [read_to_the_end(connection) for connection in slow]
        for connection in (*views, *slow):
            connection.close()
        # devlxd has closed these connections long before the last event.
        self.assertFalse(any(b'"value":"300"' in data for data in read))
        self.assertEqual({view.events for view in views.values()}, {600})
        # Less than 4 MiB, by which a subscriber may be behind, for each slow one.
        self.assertLess(after - subscribed, 10 * 4096)
