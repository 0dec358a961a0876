"""Tests of ``devlxd container``: reading, creating, removing."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

from devlxd.commands import served_options
from devlxd.commands.main import main
from tests.commands.documents.container_test_case import ContainerTestCase


class ContainerTests(ContainerTestCase):
    """Documents as a whole."""

    def test_show(self) -> None:
        """A document is printed as it is, also one that is broken."""
        self.assertEqual(self.container("show", "c1"), 0)
        self.assertEqual(self.printed(), "config:\n  user.a: one # a\n")
        self.write("config: [")
        self.assertEqual(self.container("show", "c1"), 0)
        self.assertEqual(self.printed(), "config: [")

    def test_show_bytes(self) -> None:
        """No byte of a document is changed on its way out."""
        content = b"\xef\xbb\xbfconfig: {}\r\n# \xff\n"
        self.document.write_bytes(content)
        output = io.BytesIO()
        self.patch(sys, "stdout", io.TextIOWrapper(output, "ascii"))
        arguments = ["container", "show", "c1", f"--containers={self.path}"]
        self.assertEqual(main(arguments), 0)
        self.assertEqual(output.getvalue(), content)

    def test_show_json(self) -> None:
        """As JSON it is the config and the devices, all of them text."""
        self.write("config: {a: 1}\ndevices: {d: {b: true}}\nname: x\n")
        self.assertEqual(self.container("show", "c1", "--json"), 0)
        self.assertEqual(
            json.loads(self.printed()),
            {"config": {"a": "1"}, "devices": {"d": {"b": "true"}}},
        )
        self.write("config: [")
        self.assertEqual(self.container("show", "c1", "--json"), 1)
        self.assertTrue(self.errors_printed().startswith("c1.yaml:1: "))

    def test_list(self) -> None:
        """The list has the names and the files, and what is broken."""
        self.write("config: [", "c2/config.yaml")
        self.assertEqual(self.container("list"), 0)
        self.assertEqual(
            self.printed(),
            "NAME  DOCUMENT\nc1    c1.yaml\nc2    c2/config.yaml (broken)\n",
        )
        self.assertEqual(self.container("list", "--json"), 0)
        first, second = json.loads(self.printed())
        document = str(self.document)
        expected = {"name": "c1", "document": document, "broken": False, "fault": None}
        self.assertEqual(first, expected)
        self.assertTrue(second["broken"])
        self.assertIn("config.yaml:1: ", second["fault"])
        self.document.unlink()
        (self.path / "c2" / "config.yaml").unlink()
        self.assertEqual(self.container("list"), 0)
        self.assertEqual(self.printed(), "no containers\n")

    def test_missing(self) -> None:
        """A missing container is status 3, an impossible name is status 2."""
        for action in (["show"], ["remove"], ["edit"], ["unset"]):
            rest = ["x"] if action == ["unset"] else []
            reason = "c2: no such container"
            self.assert_refused(3, reason, *action, "c2", *rest)
            self.assert_refused(2, "valid container name", *action, "../c1", *rest)

    def test_missing_directory(self) -> None:
        """A missing directory is status 1."""
        self.path /= "x"
        self.assert_refused(1, "No such file or directory", "list")
        self.assert_refused(1, "No such file or directory", "create", "c1")

    def test_create(self) -> None:
        """A document is created with keys; what exists is not replaced."""
        self.assertEqual(self.container("create", "c2", "user.a=1"), 0)
        text = (self.path / "c2.yaml").read_text()
        self.assertEqual(text, 'config:\n  user.a: "1"\ndevices: {}\n')
        self.assert_refused(1, "exists already", "create", "c1", "user.a=2")
        self.assertEqual(self.container("create", "c3", "security.devlxd=x"), 0)
        self.assertIn("c3.yaml:2: ", self.errors_printed())

    def test_remove(self) -> None:
        """A document is removed."""
        self.assertEqual(self.container("remove", "c1"), 0)
        self.assertFalse(self.document.exists())

    def test_documentation(self) -> None:
        """The page on these commands shows what they do."""
        page = Path(__file__).parents[3] / "docs" / "container_command.rst"
        block = page.read_text().partition("An example::\n\n")[2].partition("\n\n\n")[0]
        self.document.unlink()
        shown = ""
        for line in textwrap.dedent(block).splitlines(keepends=True):
            if line.startswith("$ "):
                self.assertEqual(self.printed(), shown)
                shown = ""
                _devlxd, _container, *arguments = shlex.split(line[2:])
                self.assertEqual(self.container(*arguments), 0)
            else:
                shown += line
        self.assertEqual(self.printed().strip(), shown.strip())

    def test_configuration(self) -> None:
        """The directory is that of the configuration, unless it is named."""
        config = self.path.with_suffix(".config")
        config.write_text(f"containers: {self.path}\n")
        self.patch(served_options, "CONFIG", config)
        self.assertEqual(self.run_command("container", "list"), 0)
        self.assertIn("c1.yaml", self.printed())

    def test_start_up(self) -> None:
        """Other commands do not import what these need."""
        code = (
            "import sys, devlxd.commands.main; "
            "sys.exit('twisted' in sys.modules or 'ruamel.yaml' in sys.modules)"
        )
        finished = subprocess.run([sys.executable, "-c", code], check=False)
        self.assertEqual(finished.returncode, 0)
