# -*- test-case-name: tests.client.test_sync_connection -*-
"""A connection to the server for the synchronous face, on ``http.client``.

``http.client`` limits the lengths of lines and the number of headers, `GuestSocket` the
time and the length of a head, and the receiver the length of a body.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from time import monotonic

from devlxd.client.errors import ProtocolError, Unavailable
from devlxd.client.exchanges import Request, Response
from devlxd.client.receivers import Collector, Receiver, check_encoding
from devlxd.client.sync_socket import CLOSED, MAX_HEAD, GuestSocket, connect

#: How much of a body is read at once, in bytes.
PIECE = 64 * 1024


class Connection:
    """A connection to the server, for one question. It is made anew as necessary.

    Its methods raise exceptions of `devlxd.client.GuestError`, `Interrupted` if there
    is a waker, and what a receiver raises.

    :param paths: the sockets to try, in order.
    :param timeout: how long everything may take, in seconds.
    :param waker: when this is readable, waiting for the server ends with `Interrupted`.
    :ivar path: the socket at which a server listens; empty if none was found yet.
    """

    def __init__(
        self,
        paths: Sequence[str],
        timeout: float,
        waker: socket.socket | None = None,
    ) -> None:
        self._paths = paths
        self._timeout = timeout
        self._deadline = monotonic() + timeout
        self._waker = waker
        self._socket: GuestSocket | None = None
        self._http: HTTPConnection | None = None
        self._response: HTTPResponse | None = None
        self.path = ""

    def ask(self, request: Request) -> Response:
        """Send a request, and return the whole response."""
        return self.whole(self.begin(request))

    def exchange(
        self, request: Request, receiver: Receiver, pause: float | None = None
    ) -> None:
        """Send a request, and pass the response on.

        :param pause: how long the server may then send nothing, in seconds; default:
            only everything together has a limit.
        """
        self._pass_on(self.begin(request), receiver, pause)

    def begin(self, request: Request) -> HTTPResponse:
        """Send a request, and return the response as soon as its head is there.

        :raises Unavailable: if there is no server, or it closes the connection.
        :raises ProtocolError: if the response is not HTTP.
        """
        with self._errors():
            if self._http is not None and self._http.sock is not None:
                try:
                    return self._send(self._http, request)
                except ConnectionError:
                    # A server may close a connection after any response.
                    self.close()
            return self._send(self._connect(), request)

    def whole(self, response: HTTPResponse) -> Response:
        """Return a response with its body.

        :raises ProtocolError: if it is too long.
        """
        collector = Collector()
        self._pass_on(response, collector)
        return collector.response()

    def lines(self, response: HTTPResponse, limit: int) -> Iterator[bytes]:
        """Yield the lines of a body without an end, for as long as it takes.

        :param limit: the maximum length of a line, in bytes, with its end.
        :raises ProtocolError: if a line is longer.
        :raises Unavailable: if the connection is closed.
        """
        self._allow(None)
        while True:
            with self._errors():
                line = response.readline(limit + 1)
                if len(line) > limit:
                    raise ProtocolError(f"a line is longer than {limit} bytes")
                if not line.endswith(b"\n"):
                    raise ConnectionResetError(CLOSED)
            yield line

    def close(self) -> None:
        """Close the connection. The next request makes a new one."""
        for part in (self._response, self._http, self._socket):
            if part is not None:
                part.close()
        self._response = self._http = self._socket = None

    def _connect(self) -> HTTPConnection:
        self.path, self._socket = connect(self._paths, self._deadline, self._waker)
        self._http = HTTPConnection("lxd")
        self._http.auto_open = 0
        self._http.sock = self._socket
        return self._http

    def _send(self, http: HTTPConnection, request: Request) -> HTTPResponse:
        assert self._socket is not None
        self._socket.head_left = MAX_HEAD
        http.request(request.method, request.path, request.body, {**request.headers})
        self._response = http.getresponse()
        self._socket.head_left = None
        check_encoding(headers_of(self._response))
        return self._response

    def _pass_on(
        self, response: HTTPResponse, receiver: Receiver, pause: float | None = None
    ) -> None:
        receiver.begin(response.status, headers_of(response), response.length)
        while True:
            if pause is not None:
                self._allow(pause)
            with self._errors():
                piece = response.read1(PIECE)
                if not piece and response.length:
                    raise IncompleteRead(piece, response.length)
            if not piece:
                break
            receiver.receive(piece)
        response.close()

    def _allow(self, seconds: float | None) -> None:
        """Set how much longer to wait; ``None``: for ever."""
        assert self._socket is not None
        self._socket.deadline = None if seconds is None else monotonic() + seconds

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise the exceptions of the guest library."""
        try:
            yield
        except TimeoutError:
            text = f"{self._at()}: no answer within {self._timeout:g} s"
            raise Unavailable(text) from None
        except IncompleteRead:
            raise Unavailable(f"{self._at()}: {CLOSED}") from None
        except OSError as error:
            raise Unavailable(f"{self._at()}: {error.strerror or error}") from None
        except (HTTPException, ValueError):
            raise ProtocolError(f"{self._at()}: the answer is not HTTP") from None

    def _at(self) -> str:
        return self.path or ", ".join(self._paths)


def headers_of(response: HTTPResponse) -> Mapping[str, str]:
    """Return the headers by their names in lower case; of repeated ones the last."""
    return {name.lower(): value for name, value in response.getheaders()}
