"""Tests of asking a running devlxd: whatever answers, or nothing."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable

from devlxd.commands import admin_client
from devlxd.commands.admin_client import MAX_ANSWER
from tests.commands.fake_admin import CommandTestCase, http_answer


class ClientTests(CommandTestCase):
    """Whether a devlxd answers, and what is said if none does."""

    def assert_no_service(self, reason: str) -> None:
        """Check that no devlxd is found: status 5, and one line with the reason."""
        self.assertEqual(self.ask("status"), 5)
        self.assertEqual(self.error(), f"devlxd: no devlxd at {self.socket}: {reason}")
        self.assertEqual(self.printed(), "")

    def answer_bytes(self, answer: bytes) -> None:
        """Answer each question with some bytes."""

        def send_answer(_target: str, send: Callable[[bytes], object]) -> None:
            send(answer)

        self.serve(send_answer)

    def test_no_socket(self) -> None:
        """Without a socket the command says so."""
        self.assert_no_service("there is no such socket; is it running, with --admin?")

    def test_refused(self) -> None:
        """A socket on which nothing listens is told apart."""
        with socket.socket(socket.AF_UNIX) as unheard:
            unheard.bind(str(self.socket))
            self.assert_no_service("nothing listens there; is it running?")

    def test_permission(self) -> None:
        """A socket that may not be used is told apart."""

        def refuse(_self: object) -> None:
            raise PermissionError(13, os.strerror(13))

        self.patch(admin_client._Connection, "connect", refuse)
        self.assert_no_service("permission denied; try as root")

    def test_directory(self) -> None:
        """The directory of the socket can be named instead, as for devlxd itself."""
        self.answer_bytes(http_answer(200, b"{}"))
        self.socket = self.socket.parent
        self.assertEqual(self.ask("status"), 1)
        self.assertTrue(self.printed().startswith("NOT HEALTHY\n"))

    def test_full_queue(self) -> None:
        """A devlxd that accepts no connections any more is told apart."""
        waiting: list[socket.socket] = []
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(self.socket))
            silent.listen(0)
            while len(waiting) < 2:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    waiting[-1].connect(str(self.socket))
            self.assert_no_service("too many connections wait for it to answer")
        for each in waiting:
            each.close()

    def test_no_answer(self) -> None:
        """Without an answer in time the command ends."""
        self.patch(admin_client, "TIMEOUT", 0.01)
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(self.socket))
            silent.listen()
            self.assert_no_service("no answer within 10 s")

    def test_slow_answer(self) -> None:
        """All of the answer must come in time."""

        def trickle(_target: str, send: Callable[[bytes], object]) -> None:
            send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            for _ in range(1000000):
                send(b" ")

        now = iter(range(0, 10**9, 4))
        self.patch(admin_client, "monotonic", now.__next__)
        self.serve(trickle)
        self.assert_no_service("no answer within 10 s")

    def test_strangers(self) -> None:
        """Whatever else listens there is not taken for a devlxd."""
        closed = "it closed the connection without an answer"
        no_http = "the answer is not HTTP"
        stranger = "the answer is not one of devlxd"
        deep = b"[" * 100_000
        answers = {
            b"": closed,
            b"+OK ready\r\n": no_http,
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{": (
                "it closed the connection within the answer"
            ),
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000: no_http,
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000: no_http,
            http_answer(200, b"hello"): stranger,
            http_answer(200, b"[]"): stranger,
            http_answer(200, b"\xff"): stranger,
            http_answer(200, deep): stranger,
        }
        left = [*answers]

        def send_next(_target: str, send: Callable[[bytes], object]) -> None:
            send(left.pop(0))

        self.serve(send_next)
        for reason in answers.values():
            self.assert_no_service(reason)

    def test_endless(self) -> None:
        """An answer without an end is given up."""

        def send_endlessly(_target: str, send: Callable[[bytes], object]) -> None:
            send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(2 * MAX_ANSWER):
                send(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")

        self.serve(send_endlessly)
        self.assert_no_service("the answer is not one of devlxd")

    def test_error(self) -> None:
        """An error of devlxd itself is told as it is, with status 1."""
        self.answer_bytes(http_answer(503, b'{"error": "loading\\n\\u001b[2J"}'))
        self.assertEqual(self.ask("status"), 1)
        self.assertEqual(self.error(), "devlxd: loading\\n\\x1b[2J")

    def test_other_error(self) -> None:
        """An error without words is told by its number."""
        self.answer_bytes(http_answer(500, b"<html>"))
        self.assertEqual(self.ask("containers"), 1)
        self.assertEqual(self.error(), "devlxd: 500 Reason")
