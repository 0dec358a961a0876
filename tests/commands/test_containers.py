"""Tests of ``devlxd containers``."""

from __future__ import annotations

import json
from typing import Any

from tests.commands.fake_admin import CommandTestCase

CONTAINERS: list[dict[str, Any]] = [
    {
        "name": "web",
        "document": "/srv/containers/web.yaml",
        "broken": True,
        "run": None,
        "state": "Started",
        "connections": 0,
        "subscribers": 0,
    },
    {
        "name": "c1",
        "document": "/srv/containers/c1/backup.yaml",
        "broken": False,
        "run": {"pid": 4711},
        "state": "Ready",
        "connections": 12,
        "subscribers": 3,
    },
    {"name": "gone"},
]

#: One container, with all that is told of it.
C1: dict[str, Any] = {
    **CONTAINERS[1],
    "faults": [
        {"file": "/srv/containers/c1/backup.yaml", "line": 3, "text": "a\x1b is wrong"},
        {"file": "/srv/containers/c1/backup.yaml", "line": 0, "text": "b is wrong"},
    ],
    "last_question": "2026-11-26T14:41:11.000000Z",
    "refusals": {"not root": 3, "switched off": 1},
}


class ContainersTests(CommandTestCase):
    """``devlxd containers [NAME]``."""

    def test_list(self) -> None:
        """All containers are in one table, sorted by name, in 80 columns."""
        self.serve_json({"/containers": CONTAINERS})
        self.assertEqual(self.ask("containers"), 0)
        printed = self.printed()
        self.assertEqual(
            printed,
            """\
NAME  STATE    INIT  CONNECTIONS  SUBSCRIBERS  DOCUMENT
c1    Ready    4711  12           3            backup.yaml
gone  -        -     -            -            -
web   Started  -     0            0            web.yaml (broken)
""",
        )

    def test_none(self) -> None:
        """If there are none, this is said."""
        self.serve_json({"/containers": []})
        self.assertEqual(self.ask("containers"), 0)
        self.assertEqual(self.printed(), "no containers\n")

    def test_one(self) -> None:
        """One container is shown with its faults and refusals."""
        self.serve_json({"/containers/c1": C1})
        self.assertEqual(self.ask("containers", "c1"), 0)
        self.assertEqual(
            self.printed(),
            """\
name           c1
document       /srv/containers/c1/backup.yaml
state          Ready
init           4711
connections    12
subscribers    3
last question  2026-11-26T14:41:11.000000Z
refusals       not root 3
               switched off 1
faults         /srv/containers/c1/backup.yaml:3: a\\x1b is wrong
               /srv/containers/c1/backup.yaml: b is wrong
""",
        )

    def test_two_directories(self) -> None:
        """Containers of one name in several directories are shown one by one."""
        answer = {**CONTAINERS[1], "others": [{**CONTAINERS[0], "name": "c1"}]}
        self.serve_json({"/containers/c1": answer})
        self.assertEqual(self.ask("containers", "c1"), 0)
        first, second = self.printed().split("\n\n")
        self.assertIn("/srv/containers/c1/backup.yaml\n", first)
        self.assertIn("/srv/containers/web.yaml (broken)\n", second)

    def test_json(self) -> None:
        """With ``--json`` the answer is printed as it is."""
        self.serve_json({"/containers": CONTAINERS, "/containers/c1": C1})
        self.assertEqual(self.ask("containers", "--json"), 0)
        self.assertEqual(json.loads(self.printed()), CONTAINERS)
        self.assertEqual(self.ask("containers", "--json", "c1"), 0)
        self.assertEqual(json.loads(self.printed()), C1)

    def test_no_such_container(self) -> None:
        """A container that is not known is an error of one line, and status 3."""
        self.serve_json({})
        for name in ("c2", "../status", "\x1b\udcff", "a b?c#d", ""):
            self.assertEqual(self.ask("containers", name), 3)
            self.assertTrue(self.error().endswith(": no such container"))

    def test_not_there(self) -> None:
        """If there is no devlxd, the status is 5."""
        self.assertEqual(self.ask("containers"), 5)
        self.assertIn("no such socket", self.error())
