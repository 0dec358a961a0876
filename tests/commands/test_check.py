"""Tests of ``devlxd check``."""

from __future__ import annotations

import json
import shutil
import tempfile
import textwrap
from pathlib import Path

from devlxd.commands import served_options
from devlxd.guestapi.dialects import DIALECTS
from tests.commands.fake_admin import CommandTestCase
from tests.containers.faulty_documents import write_faults


class CheckTests(CommandTestCase):
    """``devlxd check``."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute()
        # This host may have a configuration.
        self.config = self.path.with_suffix(".config")
        self.patch(served_options, "CONFIG", self.config)

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

    def test_containers(self) -> None:
        """The directory may be named as for other commands, but only once."""
        self.write("conifg: {}\n")
        option = f"--containers={self.path}"
        self.assertEqual(self.run_command("check", option), 1)
        self.assertIn("did you mean config?", self.printed())
        self.assertEqual(self.run_command("check", option, str(self.path)), 2)
        self.assertIn("--containers", self.error())

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

    def test_config(self) -> None:
        """The directory, the dialects and more are those of the configuration."""
        self.write("config: {cloud-init.a: x, user.guest-api: flase}\n")
        self.write("#" + " " * 5000, "c2.yaml")
        self.config.write_text(
            f"containers: {self.path}\n"
            "listen: [lxd6=]\n"
            "switch: user.guest-api\n"
            "limits: {document-bytes: 5000}\n"
        )
        self.assertEqual(self.run_command("check"), 1)
        expected = (
            f"{self.path}/c1.yaml:1: user.guest-api is neither true nor false; write "
            f"true or false\n{self.path}/c2.yaml: longer than 5000 bytes; shorten its "
            "values\n"
        )
        self.assertEqual(self.printed(), expected)
        other = self.config.rename(f"{self.config}.other")
        self.assertEqual(self.run_command("check", f"--config={other}"), 1)
        self.assertEqual(self.printed(), expected)
        self.assertEqual(self.check("--dialect=lxd", f"--config={other}"), 1)
        self.assertIn("cloud-init.a is shown to guests by no dialect", self.printed())

    def test_mistaken_config(self) -> None:
        """A mistake in the configuration is an error of one line, and status 1."""
        self.config.write_text("\ncontainer: x\n")
        self.assertEqual(self.check(), 1)
        self.assertIn(f"{self.config}:2: there is no option container", self.error())
        self.assertEqual(self.check("--config=/nope"), 1)
        self.assertIn("/nope: No such file or directory", self.error())

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
