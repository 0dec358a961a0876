"""A server in a thread in the place of devlxd, for tests of commands that ask it."""

from __future__ import annotations

import contextlib
import io
import json
import socketserver
import sys
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO

from twisted.trial.unittest import SynchronousTestCase

from devlxd.commands import main as command

#: What the server does with one connection: it gets the target, and a function that
#: sends bytes.
Answer = Callable[[str, Callable[[bytes], object]], None]


def http_answer(status: int, body: bytes) -> bytes:
    """Return a whole response."""
    head = f"HTTP/1.1 {status} Reason\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        # The command may have seen enough.
        with contextlib.suppress(ConnectionError):
            self.server.answer(self.path, self.wfile.write)
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


class _Server(socketserver.ThreadingUnixStreamServer):
    def __init__(self, path: Path, answer: Answer) -> None:
        super().__init__(str(path), _Handler)
        self.answer = answer


class CommandTestCase(SynchronousTestCase):
    """A base class of tests of commands, with a server for them to ask."""

    def setUp(self) -> None:
        self.output = io.StringIO()
        self.errors = io.StringIO()
        self.socket = Path(tempfile.mkdtemp(dir=".")) / "sock"

    def serve(self, answer: Answer) -> None:
        """Answer questions at ``self.socket`` until the test ends."""
        server = _Server(self.socket, answer)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        self.addCleanup(stop)

    def serve_json(self, answers: dict[str, object]) -> None:
        """Answer each target with a value, and others with 404."""

        def answer(target: str, send: Callable[[bytes], object]) -> None:
            if target in answers:
                send(http_answer(200, json.dumps(answers[target]).encode()))
            else:
                send(http_answer(404, b'{"error": "nothing there"}'))

        self.serve(answer)

    def stdout(self) -> IO[str]:
        """Return what is the standard output for commands."""
        return self.output

    def run_command(self, *arguments: str) -> int:
        """Run ``devlxd``; return the exit status, and keep what it prints."""
        self.patch(sys, "stdout", self.stdout())
        self.patch(sys, "stderr", self.errors)
        try:
            return command.main([*arguments])
        except SystemExit as exit:
            assert isinstance(exit.code, int)
            return exit.code

    def ask(self, *arguments: str) -> int:
        """Run a command that asks the server."""
        return self.run_command(*arguments, f"--socket={self.socket}")

    def printed(self) -> str:
        """Return what was printed since the last call."""
        text = self.output.getvalue()
        self.output.seek(0)
        self.output.truncate()
        return text

    def error(self) -> str:
        """Return the only line on standard error since the last call."""
        text = self.errors.getvalue()
        self.errors.seek(0)
        self.errors.truncate()
        self.assertEqual(text.count("\n"), 1, text)
        return text.rstrip("\n")
