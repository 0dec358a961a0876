"""Tests of ``devlxd log``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable

from devlxd.commands import admin_client, log
from devlxd.commands.admin_client import MAX_EVENT, AdminClient
from devlxd.commands.log import RETRY_INTERVAL
from tests.commands.fake_admin import CommandTestCase, http_answer

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

CHANGED = {
    "timestamp": "2026-11-26T14:41:11Z",
    "event": "changed",
    "container": "c1",
    "keys": ["user.a", "user.\x1b"],
}

REFUSED = {
    "timestamp": "2026-11-26T14:41:12Z",
    "event": "refused",
    "container": None,
    "pid": 4711,
    "reason": "not in a container",
}

SHOWN = """\
2026-11-26T14:41:11Z changed c1 keys=user.a,user.\\x1b
2026-11-26T14:41:12Z refused - reason="not in a container" pid=4711
"""


def chunk(text: bytes) -> bytes:
    """Return a chunk of an answer."""
    return b"%x\r\n%s\r\n" % (len(text), text)


def lines(*events: object) -> bytes:
    """Return a chunk with events, one a line."""
    return chunk(b"".join(json.dumps(event).encode() + b"\n" for event in events))


class LogTests(CommandTestCase):
    """``devlxd log``."""

    def follow(
        self, *answers: bytes, as_json: bool = False, asked: bool = False
    ) -> list[float]:
        """Follow events while devlxd gives these answers, one a connection."""
        waits: list[float] = []
        left = [*answers]

        def answer(target: str, send: Callable[[bytes], object]) -> None:
            self.assertEqual(target, f"/events{'?asked=1' if asked else ''}")
            send(left.pop(0))

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if not left:
                raise KeyboardInterrupt

        self.serve(answer)
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)
        arguments = Namespace(socket=self.socket, json=as_json, asked=asked)
        self.assertEqual(log.run(arguments, sleep), 130)
        return waits

    def test_events(self) -> None:
        """Each event is one line, with control characters escaped."""
        self.follow(HEAD + chunk(b"\n") + lines(CHANGED, REFUSED) + b"0\r\n\r\n")
        self.assertEqual(self.printed(), SHOWN)
        self.assertEqual(
            self.error(),
            f"devlxd: devlxd at {self.socket} has closed the connection; waiting for "
            "it",
        )

    def test_silence(self) -> None:
        """While nothing happens the command waits, whatever the timeout of answers."""
        connections: list[admin_client._Connection] = []

        class Recorded(admin_client._Connection):
            def connect(self) -> None:
                super().connect()
                connections.append(self)

        self.patch(admin_client, "_Connection", Recorded)
        for head in (HEAD, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"):

            def answer(
                _target: str, send: Callable[[bytes], object], head: bytes = head
            ) -> None:
                send(head)

            self.socket.unlink(missing_ok=True)
            self.serve(answer)
            lines = AdminClient(self.socket).lines("/events")
            self.assertEqual(next(lines), b"")
            self.assertIsNone(connections[-1]._socket.gettimeout())
            self.assertEqual([*lines], [])

    def test_json(self) -> None:
        """With ``--json`` each event is one line of JSON."""
        self.follow(HEAD + lines(CHANGED, REFUSED), as_json=True)
        printed = self.printed().splitlines()
        self.assertEqual([*map(json.loads, printed)], [CHANGED, REFUSED])

    def test_asked(self) -> None:
        """With ``--asked`` the questions of guests are events as well."""
        self.follow(HEAD + lines({"event": "asked", "path": "/1.0"}), asked=True)
        self.assertEqual(self.printed(), "- asked - path=/1.0\n")

    def test_reconnects(self) -> None:
        """When devlxd restarts, the command waits for it, and says so once."""
        waits = self.follow(
            HEAD + lines(CHANGED),
            b"",
            b"",
            HEAD + lines(REFUSED) + b"0\r\n\r\n",
        )
        self.assertEqual(waits, [RETRY_INTERVAL] * 4)
        self.assertEqual(self.printed(), SHOWN)
        notes = self.errors.getvalue().splitlines()
        self.assertEqual(len(notes), 3, notes)
        self.assertIn("waiting for it", notes[0])
        self.assertEqual(notes[1], "devlxd: connected again")

    def test_not_understood(self) -> None:
        """A line that is no event is left out; the others are printed."""
        self.follow(HEAD + chunk(b"nonsense\n[]\n") + lines(CHANGED, REFUSED))
        self.assertEqual(self.printed(), SHOWN)
        notes = self.errors.getvalue().splitlines()
        self.assertEqual(len(notes), 3, notes)
        self.assertIn("left out", notes[0])

    def test_endless_line(self) -> None:
        """A line without an end is given up."""
        self.follow(HEAD + lines(CHANGED, REFUSED) + chunk(b"x" * (MAX_EVENT + 1)))
        self.assertEqual(self.printed(), SHOWN)
        self.assertIn("not one of devlxd", self.error())

    def test_refused(self) -> None:
        """If devlxd refuses the question, the command ends with status 1."""

        def answer(_target: str, send: Callable[[bytes], object]) -> None:
            send(http_answer(503, b'{"error": "too many listeners"}'))

        self.serve(answer)
        self.assertEqual(self.ask("log"), 1)
        self.assertEqual(self.error(), "devlxd: too many listeners")

    def test_not_there(self) -> None:
        """If there is no devlxd at the start, the status is 5."""
        self.assertEqual(self.ask("log"), 5)
        self.assertIn("no such socket", self.error())
