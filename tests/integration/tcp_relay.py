"""A relay from a TCP port to the UNIX socket of a devlxd, for programs without AF_UNIX.

A stream of events never ends. The relay ends it after its first event, for programs
that read whole responses.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from pathlib import Path
from types import TracebackType

from tests.integration.processes import TIMEOUT

#: How much is read at a time, in bytes.
_CHUNK = 65536

#: What the line of a header that only streams of events have begins with.
_EVENTS = b"x-devlxd-timestamp:"

#: The header of a stream, in lower case.
_CHUNKED = b"transfer-encoding: chunked\r\n"


class _Handler(socketserver.BaseRequestHandler):
    """One connection, for one request: its response ends with the connection."""

    request: socket.socket

    def handle(self) -> None:
        """See `socketserver.BaseRequestHandler.handle`."""
        assert isinstance(self.server, _Server)
        upstream = socket.socket(socket.AF_UNIX)
        upstream.settimeout(TIMEOUT)
        with upstream, contextlib.suppress(ConnectionError):
            upstream.connect(self.server.path)
            sending = threading.Thread(target=self._send, args=(upstream,))
            sending.start()
            try:
                self._receive(upstream)
            finally:
                with contextlib.suppress(OSError):
                    self.request.shutdown(socket.SHUT_RDWR)
                sending.join()

    def _send(self, upstream: socket.socket) -> None:
        """Pass the request on, until the client closes."""
        with contextlib.suppress(OSError):
            while data := self.request.recv(_CHUNK):
                upstream.sendall(data)

    def _receive(self, upstream: socket.socket) -> None:
        """Pass the response on, until its end or the end of the first event."""
        with upstream.makefile("rb") as reader:
            head = list(iter(reader.readline, b"\r\n"))
            if not any(line.lower().startswith(_EVENTS) for line in head):
                self.request.sendall(b"".join(head) + b"\r\n")
                while data := reader.read1(_CHUNK):
                    self.request.sendall(data)
                return
            # The end of the connection is the end of the response instead.
            head = [line for line in head if line.lower() != _CHUNKED]
            content = b""
            while b"}\n" not in content:
                content += reader.read(int(reader.readline(), 16))
                reader.readline()
            event = content.lstrip(b"\n").partition(b"\n")[0]
            self.request.sendall(b"".join(head) + b"\r\n" + event)


class _Server(socketserver.ThreadingTCPServer):
    request_queue_size = 100
    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.path = str(path)


class TCPRelay:
    """A relay to a UNIX socket, which listens on a free port while it is entered.

    Each request has to ask for ``Connection: close``.

    :param path: the path of the socket.
    """

    def __init__(self, path: Path) -> None:
        self._server = _Server(path)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> TCPRelay:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop to listen."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
