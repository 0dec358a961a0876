"""Clients that run in containers: a program without devlxd, by its path.

``clients.py FUNCTION ARGUMENTS`` runs a function of this module; the arguments are a
JSON object. All functions are generators: each value is printed as a line of JSON,
and the function goes on after a line on stdin. It ends at the end of stdin.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import time
from collections.abc import Iterator

#: What cloud-init reads besides meta-data, the list of keys and the devices.
KEYS = (
    "cloud-init.network-config",
    "cloud-init.user-data",
    "cloud-init.vendor-data",
    "user.foo",
)

#: The paths that cloud-init requests at each boot.
CRAWL = (
    "/1.0/meta-data",
    "/1.0/config",
    *(f"/1.0/config/{key}" for key in KEYS),
    "/1.0/devices",
)

#: The head of a request as python-requests sends it.
_HEAD = (
    "GET {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: python-requests/2.28.1\r\n"
    "Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n"
)

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)

#: The requests that subscribe to events.
SUBSCRIPTIONS = {
    "lines": b"GET /1.0/events HTTP/1.1\r\nHost: lxd\r\n\r\n",
    "websocket": b"GET /1.0/events HTTP/1.1\r\nHost: lxd\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
}

#: How long one step may take, in seconds.
_TIMEOUT = 60.0


def connect(path: str) -> socket.socket:
    """Open a connection; it blocks, with a timeout, in C."""
    connection = socket.socket(socket.AF_UNIX)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        timeout = int(_TIMEOUT).to_bytes(8, sys.byteorder) + bytes(8)
        connection.setsockopt(socket.SOL_SOCKET, option, timeout)
    connection.connect(path)
    return connection


def read_response(connection: socket.socket) -> bytes:
    """Read one response with a length.

    :raises OSError: if the connection is closed before its end.
    """
    data = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("closed")
        data += piece
        head, end, body = data.partition(b"\r\n\r\n")
        if end:
            length = _LENGTH.search(head)
            if length is None or len(body) >= int(length[1]):
                return data


def request(path: str) -> bytes:
    """Return the request for a path."""
    return _HEAD.format(path).encode()


def ask(path: str, target: str) -> Iterator[object]:
    """Send one request; yield the response, as Latin-1."""
    with connect(path) as connection:
        connection.sendall(request(target))
        yield read_response(connection).decode("latin-1")


def connections(
    path: str, target: str, seconds: float, processes: int, keep: bool
) -> Iterator[object]:
    """Send one request with each new connection, in several processes at a time.

    :param keep: whether connections are closed only at the end. LXD 5.0 crashes when
        one is closed while it handles a request of another.
    :return: the response times in milliseconds, and the number of errors.
    """
    yield "ready"
    go_on, end = os.pipe()
    readers = []
    for _ in range(processes):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.close(end)
            result = _send(path, request(target), seconds, keep)
            with open(writer, "w") as file:
                json.dump(result[:2], file)
            os.read(go_on, 1)
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    all_times, all_errors = [], 0
    for reader in readers:
        with open(reader) as file:
            times, errors = json.load(file)
        all_times += times
        all_errors += errors
    yield [all_times, all_errors]
    os.close(end)


def _send(
    path: str, data: bytes, seconds: float, keep: bool
) -> tuple[list[float], int, list[socket.socket]]:
    times, errors, kept = [], 0, []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        try:
            connection = connect(path)
            connection.sendall(data)
            if not read_response(connection).startswith(b"HTTP/1.1 200"):
                errors += 1
        except OSError:
            errors += 1
            continue
        times.append((time.perf_counter() - start) * 1000)
        if keep:
            kept.append(connection)
        else:
            connection.close()
    return times, errors, kept


def crawl(
    path: str, kept: list[socket.socket] | None = None
) -> tuple[list[float], int]:
    """Request what cloud-init requests, with a connection for each request.

    :param kept: receives the connections, which stay open.
    :return: the response times in milliseconds, and the number of errors.
    """
    times, errors = [], 0
    for target in CRAWL:
        start = time.perf_counter()
        try:
            connection = connect(path)
            connection.sendall(request(target))
            if not read_response(connection).startswith(b"HTTP/1.1 200"):
                errors += 1
            if kept is None:
                connection.close()
            else:
                kept.append(connection)
        except OSError:
            errors += 1
        times.append((time.perf_counter() - start) * 1000)
    return times, errors


def crawls(path: str, count: int) -> Iterator[object]:
    """Crawl several times; the connections stay open until the end.

    :return: the response times in milliseconds, the number of errors, and the times
        of the begin and the end, in seconds.
    """
    yield "ready"
    kept: list[socket.socket] = []
    all_times, all_errors, start = [], 0, time.perf_counter()
    for _ in range(count):
        times, errors = crawl(path, kept)
        all_times += times
        all_errors += errors
    yield [all_times, all_errors, start, time.perf_counter()]
    for connection in kept:
        connection.close()


def subscribe(path: str, kind: str) -> socket.socket:
    """Subscribe to events; return the connection after the head of the response."""
    connection = connect(path)
    connection.sendall(SUBSCRIPTIONS[kind])
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError(f"refused: {head!r}")
        head += piece
    return connection


class Listeners:
    """Connections that receive events.

    :param descriptors: their descriptors, which stay the caller's.
    """

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors
        self._epoll = select.epoll()
        for descriptor in descriptors:
            os.set_blocking(descriptor, False)
            # Each arrival is reported once: nothing is read while time is measured.
            self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)

    def wait(self) -> float:
        """Wait until something has arrived at each, and read it.

        :return: the time of the last arrival, in seconds.
        """
        missing, last = set(self._descriptors), 0.0
        while missing:
            arrived = self._epoll.poll(_TIMEOUT, len(self._descriptors))
            last = time.perf_counter()
            if not arrived:
                raise TimeoutError(f"{len(missing)} events are missing")
            missing.difference_update(descriptor for descriptor, _ in arrived)
        # A message may arrive in several pieces.
        time.sleep(0.02)
        for descriptor in self._descriptors:
            self._read(descriptor)
        self._epoll.poll(0, len(self._descriptors))
        return last

    def _read(self, descriptor: int) -> None:
        try:
            while len(data := os.read(descriptor, 65536)) == 65536:
                pass
        except BlockingIOError:
            return
        if not data:
            raise ConnectionError("the connection of a listener was closed")


def listen(path: str, kind: str, count: int) -> Iterator[object]:
    """Subscribe ``count`` times; yield the times of the events of each change."""
    subscribed = [subscribe(path, kind) for _ in range(count)]
    listeners = Listeners([one.fileno() for one in subscribed])
    yield "ready"
    while True:
        yield listeners.wait()


def download(path: str, target: str, seconds: float) -> Iterator[object]:
    """Download a file once, or for some seconds; yield bytes per second, and bytes."""
    yield "ready"
    buffer = bytearray(1 << 20)
    start, received = time.perf_counter(), 0
    while True:
        with connect(path) as connection:
            connection.sendall(request(target))
            head = connection.recv(4096)
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            length = _LENGTH.search(head)
            if not head.startswith(b"HTTP/1.1 200") or length is None:
                raise ConnectionError(repr(head[:1000]))
            missing = int(length[1]) - len(head.partition(b"\r\n\r\n")[2])
            received += missing
            while missing:
                count = connection.recv_into(buffer)
                if not count:
                    raise ConnectionError("closed")
                missing -= count
        took = time.perf_counter() - start
        if took >= seconds:
            break
    yield [received / took, received]


def questions(path: str, target: str, count: int) -> Iterator[object]:
    """Send a request each millisecond, on one connection.

    :return: the response times, in milliseconds.
    """
    yield "ready"
    times = []
    with connect(path) as connection:
        for _ in range(count):
            start = time.perf_counter()
            connection.sendall(request(target))
            read_response(connection)
            times.append((time.perf_counter() - start) * 1000)
            time.sleep(0.001)
    yield times


def main() -> None:
    """Run the function that the command line names."""
    for value in globals()[sys.argv[1]](**json.loads(sys.argv[2])):
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()
        if not sys.stdin.readline():
            break


if __name__ == "__main__":
    main()
