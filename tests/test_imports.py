"""Tests of what importing devlxd does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.python.modules import getModule
from twisted.trial.unittest import SynchronousTestCase

#: Which room may import which, from the top of the house to its bottom.
ROOMS = [
    {"tap", "command"},
    {"demo"},
    {"service", "testing"},
    {"web"},
    {
        "peers",
        "containers",
        "events",
        "images",
        "listening",
        "accepting",
        "adopted",
        "inotify",
    },
    {"turns", "adopted"},
    {"interfaces"},
    {"model", "timestamps", "truth", "loglimit", "files", "process", "stdout"},
]


class ImportTests(SynchronousTestCase):
    """Importing."""

    def test_no_reactor(self) -> None:
        """Importing any module leaves the choice of the reactor to the agent."""
        names = [m.name for m in getModule("devlxd").walkModules()]
        code = (
            f"import sys, importlib; [importlib.import_module(n) for n in {names}]; "
            "sys.exit('twisted.internet.reactor' in sys.modules)"
        )
        finished = subprocess.run([sys.executable, "-c", code], check=False)
        self.assertEqual(finished.returncode, 0)

    def test_rooms(self) -> None:
        """Each room imports only from rooms below it."""
        level = {room: n for n, rooms in enumerate(ROOMS) for room in rooms}
        package = Path(getModule("devlxd").filePath.path).parent
        for path in package.rglob("*.py"):
            room = path.relative_to(package).parts[0].removesuffix(".py")
            for line in path.read_text().splitlines():
                words = line.split()
                if words[:1] == ["from"] and words[1].startswith("devlxd."):
                    imported = words[1].split(".")[1]
                    below = level[imported] > level[room] or imported == room
                    self.assertTrue(below, f"{path}: {line}")
