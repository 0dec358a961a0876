"""Tests of ``devlxd why``."""

from __future__ import annotations

import json
from typing import Any

from tests.commands.fake_admin import CommandTestCase

SERVED: dict[str, Any] = {
    "pid": 4711,
    "steps": [
        {"check": "the process", "result": "passed", "detail": "uid 100000, sh"},
        {"check": "the monitor", "result": "skipped", "detail": ""},
    ],
    "container": "c1",
    "refused": None,
}

REFUSED: dict[str, Any] = {
    "pid": 4711,
    "steps": [
        {
            "check": "the cgroup",
            "result": "failed",
            "detail": "/user.slice/\x1b[2J is the cgroup of no runtime that is known, "
            "and so the process is in no container",
        },
    ],
    "container": None,
    "refused": "not in a container",
}


class WhyTests(CommandTestCase):
    """``devlxd why PID``."""

    def test_served(self) -> None:
        """A process whose requests are answered: each check, and the container."""
        self.serve_json({"/why?pid=4711": SERVED})
        self.assertEqual(self.ask("why", "4711"), 0)
        self.assertEqual(
            self.printed(),
            """\
ok       the process  uid 100000, sh
skipped  the monitor  -
process 4711 is in container c1
""",
        )

    def test_refused(self) -> None:
        """A process that is refused: the check that failed, and status 1."""
        self.serve_json({"/why?pid=4711": REFUSED})
        self.assertEqual(self.ask("why", "4711"), 1)
        self.assertEqual(
            self.printed(),
            """\
FAILED   the cgroup  /user.slice/\\x1b[2J is the cgroup of no runtime that is
                     known, and so the process is in no container
process 4711 is refused: not in a container
""",
        )

    def test_json(self) -> None:
        """With ``--json`` the answer is printed as it is; the status is the same."""
        self.serve_json({"/why?pid=1": SERVED, "/why?pid=2": REFUSED})
        for pid, answer, expected in (("1", SERVED, 0), ("2", REFUSED, 1)):
            self.assertEqual(self.ask("why", "--json", pid), expected)
            self.assertEqual(json.loads(self.printed()), answer)

    def test_not_there(self) -> None:
        """If there is no devlxd, the status is 5."""
        self.assertEqual(self.ask("why", "1"), 5)
        self.assertIn("no such socket", self.error())
