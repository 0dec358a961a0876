"""A server in a thread, which sends given bytes to each connection in turn."""

from __future__ import annotations

import contextlib
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from devlxd.client.sync import Guest

#: What happens to one connection.
Script = Callable[["Peer"], None]

#: The head of an event stream as LXD and Incus send it, with bare line feeds.
PLAIN_STREAM = (
    b"HTTP/1.1 200 OK\nConnection: keep-alive\nContent-Type: application/json\n"
    b"X-Content-Type-Options: nosniff\n\n"
)


class Peer:
    """The server's end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._file = connection.makefile("rb")

    def request(self) -> bytes:
        """Receive a request; return its head, which is empty at the end."""
        head = b""
        length = 0
        while line := self._file.readline():
            head += line
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            if line == b"\r\n":
                break
        return head + self._file.read(length)

    def send(self, data: bytes) -> None:
        """Send data."""
        self.connection.sendall(data)

    def respond(self, body: bytes, status: int = 200, head: str = "") -> None:
        """Send a response."""
        length = f"Content-Length: {len(body)}\r\n"
        self.send(f"HTTP/1.1 {status} OK\r\n{length}{head}\r\n".encode() + body)

    def is_closed(self) -> bool:
        """Wait for the client; return whether it has closed the connection."""
        try:
            return not self.connection.recv(1)
        except ConnectionResetError:
            # It had not read everything.
            return True

    def signal_until_closed(self, thread: int) -> None:
        """Send ``SIGUSR1`` to a thread until the client closes the connection.

        A single signal could arrive just before the thread begins to wait.
        """
        self.connection.settimeout(0.05)
        while True:
            signal.pthread_kill(thread, signal.SIGUSR1)
            with contextlib.suppress(TimeoutError):
                if self.is_closed():
                    return

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self.connection.close()


def sending(*data: bytes) -> Script:
    """Return a script: receive a request, send data, and close."""

    def script(peer: Peer) -> None:
        peer.request()
        for piece in data:
            peer.send(piece)

    return script


def responding(*responses: tuple[bytes, int]) -> Script:
    """Return a script: answer requests with bodies and status codes, and close."""

    def script(peer: Peer) -> None:
        for body, status in responses:
            peer.request()
            peer.respond(body, status)

    return script


def interrupt() -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


class ScriptedServer:
    """A server whose connections have scripts.

    :ivar requests: the requests, without their headers.
    """

    def __init__(self, path: Path, scripts: Sequence[Script]) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._scripts = scripts
        self.requests: list[bytes] = []
        self._threads = [threading.Thread(target=self._run)]
        self._threads[0].start()

    def _run(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                # The test is over.
                return
            peer = _RecordingPeer(connection, self.requests)
            thread = threading.Thread(target=self._serve, args=(script, peer))
            self._threads.append(thread)
            thread.start()

    def _serve(self, script: Script, peer: Peer) -> None:
        # The client may have seen enough.
        with contextlib.suppress(ConnectionError):
            script(peer)
        peer.close()

    def stop(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        # The first thread starts the others.
        for thread in self._threads:
            thread.join()
        self._listener.close()


class _RecordingPeer(Peer):
    def __init__(self, connection: socket.socket, requests: list[bytes]) -> None:
        super().__init__(connection)
        self._requests = requests

    def request(self) -> bytes:
        """See `Peer.request`."""
        request = super().request()
        self._requests.append(request.partition(b" HTTP/")[0])
        return request


class ScriptedTestCase(SynchronousTestCase):
    """A base class of tests against servers with scripts."""

    def setUp(self) -> None:
        self._names = count()
        self._directory = Path(tempfile.mkdtemp(dir="."))

    def serve(self, *scripts: Script) -> Path:
        """Start a server; return the path of its socket."""
        path = self._directory / f"sock{next(self._names)}"
        self.server = ScriptedServer(path, scripts)
        self.addCleanup(self.server.stop)
        return path

    def handle_signal(self, handler: Callable[[], object]) -> None:
        """Call a function at the first ``SIGUSR1``, and nothing at later ones."""
        handlers = [handler]

        def handle(number: int, frame: object) -> None:
            if handlers:
                handlers.pop()()

        before = signal.signal(signal.SIGUSR1, handle)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)

    def guest(self, *scripts: Script) -> Guest:
        """Return a guest that asks a new server."""
        return Guest(self.serve(*scripts))
