"""Tests of connections of the synchronous guest to servers that misbehave."""

from __future__ import annotations

import socket
import threading
from itertools import count
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from devlxd.client import (
    GuestError,
    ProtocolError,
    Unavailable,
    receivers,
    sync_connection,
    sync_socket,
)
from devlxd.client.exchanges import Request
from devlxd.client.sync import Guest
from devlxd.client.sync_connection import Connection
from devlxd.client.sync_socket import MAX_HEAD
from tests.client.scripted_server import (
    Peer,
    ScriptedTestCase,
    interrupt,
    responding,
    sending,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class HostileServerTests(ScriptedTestCase):
    """Whatever a server sends, the exception is one of the library."""

    def error_after(self, *data: bytes) -> GuestError:
        """Return the exception of a question that is answered by some bytes."""
        guest = self.guest(sending(*data))
        error: GuestError = self.assertRaises(GuestError, guest.get, "user.a")
        return error

    def test_garbage(self) -> None:
        """What is not HTTP is a `ProtocolError`."""
        for data in (b"\0\xff\r\n", b"SSH-2.0\r\n", b"HTTP/1.1 wrong\r\n\r\n"):
            self.assertIsInstance(self.error_after(data), ProtocolError)

    def test_compressed(self) -> None:
        """A compressed response, for which nobody has asked, is a `ProtocolError`."""
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n"
        self.assertIsInstance(self.error_after(head + b"x"), ProtocolError)

    def test_closed(self) -> None:
        """A connection that is closed within a response is `Unavailable`."""
        for data in (
            b"",
            b"HTTP/1.",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            CHUNKED + b"3\r\nab",
            CHUNKED + b"2\r\nab\r\n",
        ):
            error = self.error_after(data)
            self.assertIsInstance(error, Unavailable, data)
            self.assertIn("it has closed the connection", str(error))

    def test_chunk_sizes(self) -> None:
        """Strange sizes of chunks neither need memory nor escape as other errors."""
        for size in (b"f" * 5000, b"-5", b"zz", b""):
            error = self.error_after(CHUNKED + size + b"\r\nab")
            self.assertIsInstance(error, (ProtocolError, Unavailable))

    def test_promise(self) -> None:
        """A length above the limit is refused before anything of it is read."""
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {10 * 2**30}\r\n\r\n"
        self.assertIsInstance(self.error_after(head.encode()), ProtocolError)

    def test_too_long(self) -> None:
        """A body without a known length is read up to the limit."""
        self.patch(receivers, "MAX_BODY", 1000)
        for body in (b"x" * 1001, b"".join([CHUNKED, b"3e9\r\n", b"x" * 1001])):
            head = b"" if body.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n\r\n"
            self.assertIsInstance(self.error_after(head + body), ProtocolError)

    def test_longest(self) -> None:
        """A body of the greatest length is read."""
        self.patch(receivers, "MAX_BODY", 1000)
        guest = self.guest(responding((b"x" * 1000, 200)))
        self.assertEqual(guest.get("user.a"), "x" * 1000)

    def test_endless_head(self) -> None:
        """An endless line, endless headers and endless 100s have an end."""
        for start, piece in (
            (b"", b"x" * 1000),
            (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 200),
            (b"HTTP/1.1 200 OK\r\n", b"x" * 1000),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
        ):
            pieces = [piece] * (2 * MAX_HEAD // len(piece))
            self.assertIsInstance(self.error_after(start, *pieces), ProtocolError)

    def test_continue(self) -> None:
        """A few 100s are skipped."""
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"
        skipped = b"HTTP/1.1 100 Continue\r\n\r\n" * 3
        self.assertEqual(self.guest(sending(skipped + answer)).get("user.a"), "1")

    @given(
        st.binary(max_size=300), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", CHUNKED])
    )
    def test_arbitrary(self, data: bytes, start: bytes) -> None:
        """For any bytes, there is a value or an exception of the library."""
        guest = self.guest(sending(start + data))
        try:
            self.assertIsInstance(guest.get("user.a"), str)
        except GuestError as error:
            self.assertEqual(len(str(error).splitlines()), 1)
        finally:
            self.server.stop()


class TimeoutTests(ScriptedTestCase):
    """A timeout is for a question as a whole."""

    def advance(self, seconds: float) -> None:
        """Let each look at the clock take some seconds."""
        times = count(0.0, seconds)
        for module in (sync_socket, sync_connection):
            self.patch(module, "monotonic", lambda: next(times))

    def test_trickle(self) -> None:
        """Many short waits together reach the timeout as well."""
        received: list[int] = []

        def trickle(peer: Peer) -> None:
            peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for n in range(1000):
                received.append(n)
                peer.send(b"x")

        # The deadline, connecting and sending look at the clock, and each read.
        self.advance(1.0)
        self.patch(sync_connection, "PIECE", 1)
        error = self.assertRaises(Unavailable, self.guest(trickle).get, "user.a")
        self.assertTrue(str(error).endswith(": no answer within 10 s"), error)

    def test_silence(self) -> None:
        """A server that sends nothing is left."""
        gone: list[bytes] = []

        def listen(peer: Peer) -> None:
            gone.extend((peer.request(), peer.request()))

        guest = Guest(self.serve(listen), timeout=0.01)
        error = self.assertRaises(Unavailable, guest.get, "user.a")
        self.assertTrue(str(error).endswith(": no answer within 0.01 s"), error)
        self.server.stop()
        self.assertEqual(gone[1], b"", "the connection was closed")

    def test_several_requests(self) -> None:
        """The requests of a question share its timeout."""
        names = [f"/1.0/config/user.{n}" for n in range(50)]
        listed = str(names).replace("'", '"').encode()
        self.advance(1.0)
        guest = self.guest(responding((listed, 200), *[(b"1", 200)] * 50))
        self.assertRaises(Unavailable, guest.config)

    def test_no_path(self) -> None:
        """What cannot be the path of a socket is said as such."""
        guest = Guest("/a\0b")
        error = self.assertRaises(Unavailable, guest.info)
        self.assertIn("this cannot be the path of a socket", str(error))

    def test_full_queue(self) -> None:
        """A server with a full queue is waited for, as long as the timeout lasts."""
        path = Path(self.serve().with_name("full"))
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(path))
        listener.listen(0)
        waiting = socket.socket(socket.AF_UNIX)
        self.addCleanup(waiting.close)
        waiting.connect(str(path))
        slept: list[float] = []

        def accept(seconds: float) -> None:
            slept.append(seconds)
            self.addCleanup(listener.accept()[0].close)

        self.patch(sync_socket, "sleep", accept)
        connection = Connection([str(path)], 10)
        self.addCleanup(connection.close)
        connected = connection._connect()
        self.assertIsNotNone(connected.sock)
        self.assertEqual(len(slept), 1)


class ExchangeTests(ScriptedTestCase):
    """`Connection.exchange` passes a response on, piece by piece."""

    def test_pause(self) -> None:
        """With a limit for pauses, everything together may take longer."""
        times = count(0.0, 1.0)
        for module in (sync_socket, sync_connection):
            self.patch(module, "monotonic", lambda: next(times))
        self.patch(sync_connection, "PIECE", 1)
        path = self.serve(responding((b"x" * 100, 200)))
        connection = Connection([str(path)], 10)
        self.addCleanup(connection.close)
        collector = receivers.Collector()
        connection.exchange(Request("/"), collector, pause=5)
        self.assertEqual(collector.response().body, b"x" * 100)

    def test_receiver_fails(self) -> None:
        """What the receiver raises is raised: a full disk, for example."""

        class Full(receivers.Collector):
            def receive(self, data: bytes) -> None:
                raise OSError(28, "full")

        connection = Connection([str(self.serve(responding((b"x", 200))))], 10)
        self.addCleanup(connection.close)
        self.assertRaises(OSError, connection.exchange, Request("/"), Full())


class InterruptTests(ScriptedTestCase):
    """Signals are handled while a question waits."""

    def test_keyboard_interrupt(self) -> None:
        """``KeyboardInterrupt`` passes, and the connection is closed."""

        main = threading.get_ident()
        gone = threading.Event()

        def silent(peer: Peer) -> None:
            peer.request()
            peer.signal_until_closed(main)
            gone.set()

        self.handle_signal(interrupt)
        guest = self.guest(silent)
        self.assertRaises(KeyboardInterrupt, guest.get, "user.a")
        gone.wait()
