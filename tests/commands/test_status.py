"""Tests of ``devlxd status``."""

from __future__ import annotations

import io
import json
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from devlxd.commands import status
from devlxd.commands.status import INTERVAL
from tests.commands.fake_admin import CommandTestCase, http_answer

HEALTHY: dict[str, Any] = {
    "version": "1.2.3",
    "pid": 4711,
    "uptime_seconds": 273845.5,
    "healthy": True,
    "problems": [],
    "listeners": [
        {"dialect": "lxd", "address": "/run/devlxd/sock", "listening": True},
        {"dialect": "incus", "address": "/run/incus/sock", "listening": False},
    ],
    "containers": {"known": 12, "broken": 0},
    "connections": 34,
    "subscribers": 5,
    "limits": {"connections": 1000, "downloads": 4},
}

BROKEN: dict[str, Any] = {
    **HEALTHY,
    "healthy": False,
    "problems": ["/srv/containers: No such file or directory", "bad\x1b[2J"],
    "containers": {"known": 12, "broken": 2},
    "refused": {"not in a container": 3},
}

SHOWN = """\
healthy: devlxd 1.2.3, pid 4711, running for 3 d 4 h

containers   12
connections  34
subscribers  5

DIALECT  STATE          ADDRESS
lxd      listening      /run/devlxd/sock
incus    NOT LISTENING  /run/incus/sock
"""

LIMITS = """
limits  connections=1000 downloads=4
"""


class StatusTests(CommandTestCase):
    """``devlxd status``."""

    def test_healthy(self) -> None:
        """A healthy devlxd is shown in a few lines, with status 0."""
        self.serve_json({"/status": HEALTHY})
        self.assertEqual(self.ask("status"), 0)
        self.assertEqual(self.printed(), SHOWN + LIMITS)

    def test_sources(self) -> None:
        """A remote source is a line with its age."""
        sources = [
            {"source": "etcd:/h1/", "answers": True, "age_seconds": 3.2},
            {"source": "etcd:/h2/", "answers": False, "age_seconds": 90},
            {"source": "etcd:/h3/", "age_seconds": None},
        ]
        self.serve_json({"/status": {**HEALTHY, "sources": sources}})
        self.ask("status")
        printed = self.printed()
        for text in (
            "sources      etcd:/h1/ answers, 3 s old",
            "etcd:/h2/ DOES NOT ANSWER, 1 min 30 s old",
            "etcd:/h3/ DOES NOT ANSWER, nothing is known",
        ):
            self.assertIn(f"{text}\n", printed)

    def test_sockets(self) -> None:
        """The sockets of all containers are one row, with their number."""
        each = {"dialect": "lxd", "address": "each:/run/each", "listening": True}
        listeners = [{**each, "sockets": 9998, "missing": 2}]
        self.serve_json({"/status": {**HEALTHY, "listeners": listeners}})
        self.assertEqual(self.ask("status"), 0)
        self.assertIn(
            "lxd      listening  each:/run/each (9998 sockets, 2 missing)\n",
            self.printed(),
        )

    def test_unhealthy(self) -> None:
        """What is wrong is shown, with control characters escaped, and status 1."""
        self.serve_json({"/status": BROKEN})
        self.assertEqual(self.ask("status"), 1)
        lines = self.printed().splitlines()
        self.assertTrue(lines[0].startswith("NOT HEALTHY: devlxd 1.2.3"))
        self.assertEqual(
            [lines[2], *lines[6:8]],
            [
                "containers   12, 2 with a broken document: try devlxd check",
                "problems     /srv/containers: No such file or directory",
                "             bad\\x1b[2J",
            ],
        )

    def test_many_problems(self) -> None:
        """Of many problems the first ones are shown, and the number of the others."""
        self.serve_json({"/status": {"problems": [f"p{n}" for n in range(100)]}})
        self.ask("status")
        printed = self.printed()
        self.assertTrue(printed.endswith(" and 90 more, see --json\n"), printed)
        self.assertLess(printed.count("\n"), 16)

    def test_json(self) -> None:
        """With ``--json`` the answer is printed as it is; the status is the same."""
        for answer, expected in ((HEALTHY, 0), (BROKEN, 1)):
            self.socket.unlink(missing_ok=True)
            self.serve_json({"/status": answer})
            self.assertEqual(self.ask("status", "--json"), expected)
            self.assertEqual(json.loads(self.printed()), answer)

    def test_little_known(self) -> None:
        """An answer without the members that are known is shown nevertheless."""
        self.serve_json({"/status": {}})
        self.assertEqual(self.ask("status"), 1)
        self.assertTrue(self.printed().startswith("NOT HEALTHY\n"))

    def test_unknown_uptime(self) -> None:
        """A time since the start that is no number is not shown."""
        self.serve_json({"/status": {"version": "1", "uptime_seconds": None}})
        self.ask("status")
        self.assertIn("running for -\n", self.printed())


class WatchTests(CommandTestCase):
    """``devlxd status --watch``."""

    def watch(self, output: io.StringIO, as_json: bool = False) -> list[float]:
        """Watch three times, while devlxd is away the second time."""
        waits: list[float] = []
        answers = [HEALTHY, None, BROKEN]

        def answer(_target: str, send: Callable[[bytes], object]) -> None:
            status = answers.pop(0)
            if status is not None:
                send(http_answer(200, json.dumps(status).encode()))

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                raise KeyboardInterrupt

        self.serve(answer)
        self.patch(sys, "stdout", output)
        arguments = Namespace(socket=self.socket, json=as_json, watch=True)
        self.assertEqual(status.run(arguments, sleep), 130)
        return waits

    def test_watch(self) -> None:
        """The status is shown again and again, also while devlxd restarts."""
        self.assertEqual(self.watch(self.output), [INTERVAL] * 3)
        first, second, third = self.printed_blocks()
        self.assertEqual(first, SHOWN)
        # The width of the page breaks lines.
        self.assertIn("it closed the connection", " ".join(second.split()))
        self.assertTrue(third.startswith("NOT HEALTHY: "))

    def printed_blocks(self) -> list[str]:
        """Return what was shown each time."""
        blocks: list[str] = []
        for line in self.printed().splitlines(keepends=True):
            if "HEALTHY" in line or line.startswith("healthy"):
                blocks.append("")
            blocks[-1] += line
        return [block.removesuffix("\n") for block in blocks[:-1]] + blocks[-1:]

    def test_json(self) -> None:
        """With ``--json`` there is one line each time."""
        self.watch(self.output, as_json=True)
        first, second, third = map(json.loads, self.printed().splitlines())
        self.assertEqual((first, third), (HEALTHY, BROKEN))
        self.assertFalse(second["healthy"])

    def test_terminal(self) -> None:
        """A terminal is cleared each time."""

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        terminal = Terminal()
        self.watch(terminal)
        self.assertEqual(terminal.getvalue().count("\x1b[H\x1b[J"), 3)

    def test_not_there(self) -> None:
        """If there is no devlxd at the start, the command ends."""
        self.assertEqual(self.ask("status", "--watch"), 5)
        self.assertIn("no such socket", self.error())
