"""A relay between two UNIX sockets that can be cut, or swallow what passes it."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from pathlib import Path

#: How much is read at a time, in bytes.
_CHUNK = 65536


class UnixRelay:
    """A relay that listens while it is entered.

    Both processes must read: one that does not delays all connections.

    :param path: the path of its own socket.
    :param server: the path of the server's socket.
    """

    def __init__(self, path: Path, server: Path) -> None:
        self.path = path
        self._server = server
        self._lock = threading.Lock()
        self._listening: socket.socket | None = None
        # Both ends of each connection, and whether it is swallowed.
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._swallowed: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._is_over = False
        self._ended = 0
        # The connections on which requests were sent, by the path of these.
        self._requested: dict[bytes, list[socket.socket]] = {}
        self.swallows_new = False

    def __enter__(self) -> UnixRelay:
        """Start to listen."""
        self.join()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self.cut()
        self._is_over = True
        os.write(self._woken, b"x")
        self._thread.join()
        self._selector.close()
        os.close(self._wake)
        os.close(self._woken)

    def join(self) -> None:
        """Listen, after `cut`; pass on what new connections send."""
        with self._lock:
            self.swallows_new = False
            if self._listening is None:
                self.path.unlink(missing_ok=True)
                self._listening = socket.socket(socket.AF_UNIX)
                self._listening.bind(str(self.path))
                self._listening.listen(100)
                self._listening.setblocking(False)
                self._selector.register(self._listening, selectors.EVENT_READ)
        os.write(self._woken, b"x")

    def cut(self) -> None:
        """Close all connections, and refuse new ones."""
        with self._lock:
            if self._listening is not None:
                self._selector.unregister(self._listening)
                self._listening.close()
                self._listening = None
                self.path.unlink()
            self._close_all()

    def close_connections(self) -> None:
        """Close all connections; new ones work."""
        with self._lock:
            self._close_all()

    def swallow(self, *, new: bool = False) -> None:
        """Pass nothing on of the open connections any more, and do not close them.

        :param new: whether the same holds for new connections, until `join`.
        """
        with self._lock:
            self._swallowed.update(self._pairs)
            self.swallows_new = new

    def swallow_requests(self, path: bytes) -> None:
        """Swallow the open connections on which requests for ``path`` were sent."""
        with self._lock:
            for client in self._requested.get(path, ()):
                if client in self._pairs:
                    self._swallowed.update((client, self._pairs[client]))

    def count(self) -> int:
        """Return the number of connections that are not swallowed."""
        with self._lock:
            return (len(self._pairs) - len(self._swallowed)) // 2

    def ended(self) -> int:
        """Return how many connections have ended at one end and were swallowed."""
        with self._lock:
            return self._ended

    def _close_all(self) -> None:
        for end in list(self._pairs):
            self._close(end)

    def _close(self, end: socket.socket) -> None:
        """Close a connection; do nothing if it is closed."""
        other = self._pairs.pop(end, None)
        if other is None:
            return
        del self._pairs[other]
        for one in (end, other):
            self._swallowed.discard(one)
            if one in self._selector.get_map():
                self._selector.unregister(one)
            one.close()

    def _relay(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select():
                with self._lock:
                    if key.fd == self._wake:
                        os.read(self._wake, _CHUNK)
                    elif key.fileobj is self._listening:
                        self._accept()
                    elif key.fileobj in self._pairs:
                        assert isinstance(key.fileobj, socket.socket)
                        self._pass_on(key.fileobj)

    def _accept(self) -> None:
        assert self._listening is not None
        try:
            client, _ = self._listening.accept()
        except BlockingIOError:
            return
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._server))
        except OSError:
            client.close()
            server.close()
            return
        self._pairs[client], self._pairs[server] = server, client
        if self.swallows_new:
            self._swallowed.update((client, server))
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = end.recv(_CHUNK)
        if end in self._swallowed:
            if not data:
                # The other end must not notice it.
                self._ended += 1
                self._selector.unregister(end)
            return
        if data.startswith(b"POST "):
            path = data.split(b" ", 2)[1]
            self._requested.setdefault(path, []).append(end)
        try:
            if not data:
                raise ConnectionError
            self._pairs[end].sendall(data)
        except OSError:
            self._close(end)
