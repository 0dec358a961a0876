"""A base class of tests of ``devlxd container``."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from devlxd.commands import served_options
from tests.commands.fake_admin import CommandTestCase


class _Input(io.TextIOWrapper):
    """A standard input with some bytes in it."""

    def __init__(self, content: bytes, is_terminal: bool) -> None:
        super().__init__(io.BytesIO(content), "utf-8")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class ContainerTestCase(CommandTestCase):
    """A directory with a document."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute()
        # This host may have a configuration.
        self.patch(served_options, "CONFIG", self.path.with_suffix(".config"))
        self.document = self.write("config:\n  user.a: one # a\n")
        self.type(b"", is_terminal=True)

    def write(self, text: str, name: str = "c1.yaml") -> Path:
        """Write a document."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def type(self, content: bytes, is_terminal: bool = False) -> None:
        """Give the next commands a standard input."""
        self.patch(sys, "stdin", _Input(content, is_terminal))

    def container(self, *arguments: str) -> int:
        """Run an action of ``devlxd container``."""
        return self.run_command("container", *arguments, f"--containers={self.path}")

    def assert_refused(self, status: int, reason: str, *arguments: str) -> None:
        """Check that an action fails with one line, and changes nothing."""
        before = self.document.read_text()
        self.assertEqual(self.container(*arguments), status)
        self.assertIn(reason, self.error())
        self.assertEqual(self.printed(), "")
        self.assertEqual(self.document.read_text(), before)

    def errors_printed(self) -> str:
        """Return standard error since the last call, without the directory."""
        text = self.errors.getvalue()
        self.errors.seek(0)
        self.errors.truncate()
        return text.replace(f"{self.path}/", "")
