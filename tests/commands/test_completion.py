"""Tests of ``devlxd --print-completion``."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.commands.fake_admin import CommandTestCase

#: Prints what bash offers for a command line; the arguments are the words.
_BASH = """
. ./completion
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_shtab_devlxd 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


class CompletionTests(CommandTestCase):
    """The completion of the command line."""

    def completed(self, *words: str) -> set[str]:
        """Return what bash offers for the last word."""
        self.assertEqual(self.run_command("--print-completion", "bash"), 0)
        Path("completion").write_text(self.printed())
        finished = subprocess.run(
            ["bash", "--norc", "-c", _BASH, "bash", *words],
            check=True,
            capture_output=True,
            text=True,
        )
        return {*finished.stdout.split()}

    def test_bash(self) -> None:
        """bash completes commands, options and what options accept."""
        self.assertEqual(self.completed("devlxd", "stat"), {"status"})
        self.assertIn("config", self.completed("devlxd", ""))
        self.assertIn("--timeout", self.completed("devlxd", "config", "--"))

    def test_files(self) -> None:
        """bash completes names of files, and those of directories."""
        Path("completed").mkdir()
        Path("completed/file").touch()
        self.assertEqual(
            self.completed("devlxd", "image", "add", "completed/"), {"completed/file"}
        )
        self.assertEqual(self.completed("devlxd", "check", "comp"), {"completed"})

    def test_zsh(self) -> None:
        """There is a completion for zsh as well, and none for other shells."""
        self.assertEqual(self.run_command("--print-completion", "zsh"), 0)
        self.assertTrue(self.printed().startswith("#compdef devlxd"))
        self.assertEqual(self.run_command("--print-completion", "fish"), 2)
        self.assertIn("invalid choice", self.error())
