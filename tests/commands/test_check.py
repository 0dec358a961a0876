"""Tests of ``devlxd check``."""

from __future__ import annotations

import json
import shutil
import tempfile
import textwrap
from pathlib import Path

from devlxd.guestapi.dialects import DIALECTS
from tests.commands.fake_admin import CommandTestCase
from tests.containers.faulty_documents import write_faults


class CheckTests(CommandTestCase):
    """``devlxd check``."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute()

    def write(self, text: str, name: str = "c1.yaml") -> None:
        """Write a document."""
        (self.path / name).write_text(text)

    def check(self, *arguments: str) -> int:
        """Check the directory."""
        return self.run_command("check", str(self.path), *arguments)

    def test_faults(self) -> None:
        """Each fault is a line with the file and the line, and the status is 1."""
        self.write("config: {}\n\nconifg: {}\nprofile: []\n")
        self.write("config: [", "c0.yaml")
        self.assertEqual(self.check(), 1)
        self.assertEqual(
            self.printed(),
            f"{self.path}/c0.yaml:1: did not find expected node content; close the "
            "bracket or the brace\n"
            f"{self.path}/c1.yaml:3: conifg has no effect; did you mean config?\n"
            f"{self.path}/c1.yaml:4: profile has no effect; did you mean profiles?\n",
        )

    def test_documentation(self) -> None:
        """The page on operating shows what is printed for one of each fault."""
        page = (Path(__file__).parents[2] / "docs" / "operating.rst").read_text()
        # Every user may search this directory, unlike those of some checkouts.
        path = Path(tempfile.mkdtemp(dir="/tmp"))
        self.addCleanup(shutil.rmtree, path)
        path.chmod(0o755)
        write_faults(path)
        self.assertEqual(self.run_command("check", str(path)), 1)
        printed = self.printed().replace(f"{path}/", "")
        self.assertGreater(printed.count("\n"), 25)
        self.assertIn(textwrap.indent(printed, "    "), page)

    def test_clean(self) -> None:
        """A directory without faults is said to have none, with a count."""
        self.assertEqual(self.check(), 0)
        none = "no faults in the documents of"
        self.assertEqual(self.printed(), f"{self.path}: {none} 0 containers\n")
        self.write("config: {}\n")
        self.assertEqual(self.check(), 0)
        self.assertEqual(self.printed(), f"{self.path}: {none} 1 container\n")

    def test_json(self) -> None:
        """With ``--json`` the faults are in one object."""
        self.write("conifg: {}\n")
        self.assertEqual(self.check("--json"), 1)
        self.assertEqual(
            json.loads(self.printed()),
            {
                "directory": str(self.path),
                "containers": 1,
                "faults": [
                    {
                        "file": f"{self.path}/c1.yaml",
                        "line": 1,
                        "text": "conifg has no effect; did you mean config?",
                        "container": "c1",
                        "breaks": False,
                    }
                ],
            },
        )

    def test_dialects(self) -> None:
        """Keys that no served dialect shows are faults; any dialect can be named."""
        self.write("config: {cloud-init.vendor-data: x}\n")
        (self.path / "c1.yaml").chmod(0o600)
        self.assertEqual(self.check(), 1)
        self.assertIn("shown to guests by no dialect", self.printed())
        for name, dialect in DIALECTS.items():
            shows = any("cloud-init.".startswith(p) for p in dialect.exported)
            self.assertEqual(self.check(f"--dialect={name}"), int(not shows))

    def test_switch(self) -> None:
        """The key of ``--switch`` is checked, too."""
        self.write("config: {user.guest-api: flase}\n")
        self.assertEqual(self.check(), 0)
        self.printed()
        self.assertEqual(self.check("--switch=user.guest-api"), 1)
        self.assertIn("user.guest-api is neither true nor false", self.printed())

    def test_missing(self) -> None:
        """A directory that cannot be read is an error of one line, and status 1."""
        self.assertEqual(self.run_command("check", f"{self.path}/nope"), 1)
        self.assertEqual(
            self.error(), f"devlxd: {self.path}/nope: No such file or directory"
        )
        self.write("config: {}\n")
        self.assertEqual(self.run_command("check", f"{self.path}/c1.yaml"), 1)
        self.assertEqual(self.error(), f"devlxd: {self.path}/c1.yaml: Not a directory")
        self.assertEqual(self.printed(), "")
