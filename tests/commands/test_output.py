"""Tests of `devlxd.commands.output`."""

from __future__ import annotations

import io
import os
import sys

from twisted.trial.unittest import SynchronousTestCase

from devlxd.commands.output import json_text, paragraphs, printable, table


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class OutputTests(SynchronousTestCase):
    """Text that fits, and that controls no terminal."""

    def test_printable(self) -> None:
        """Control characters are escaped; text in any language is not."""
        self.assertEqual(
            printable("a\x1b[31m\n\x7f\x9b\udcff"), "a\\x1b[31m\\n\\x7f\\x9b\\udcff"
        )
        self.assertEqual(printable("é漢\u202e"), "é漢\\u202e")

    def test_values(self) -> None:
        """Values of JSON are readable."""
        self.assertEqual(printable(None), "-")
        self.assertEqual(printable(""), "-")
        self.assertEqual(printable(0), "0")
        self.assertEqual(printable(True), "yes")
        self.assertEqual(printable([1, "\n"]), "1, \\n")
        self.assertEqual(printable({"a\n": 1, "b": False}), "a\\n 1, b no")

    def test_json(self) -> None:
        """JSON is ASCII, and so are its escapes."""
        self.assertEqual(json_text({"é": "\x1b"}), '{\n  "\\u00e9": "\\u001b"\n}\n')

    def test_table(self) -> None:
        """Columns are aligned, and nothing is cut where the output is no terminal."""
        self.assertEqual(
            table(("A", "B"), [("x" * 100, 1), (None, "\n")]),
            f"A{' ' * 101}B\n{'x' * 100}  1\n-{' ' * 101}\\n\n",
        )

    def test_table_on_terminal(self) -> None:
        """On a terminal lines are cut to its width."""
        self.patch(sys, "stdout", _Terminal())
        self.patch(os, "environ", {**os.environ, "COLUMNS": "40"})
        *_, line = table(("A", "B"), [("x" * 30, "y" * 30)]).splitlines()
        self.assertEqual(line, f"{'x' * 30}  yyyyy...")

    def test_paragraphs(self) -> None:
        """Long texts are wrapped to 80 columns, beside their names."""
        text = paragraphs(
            [("name", ["word " * 30, "next"]), ("none", []), ("longer name", ["x"])]
        )
        lines = text.splitlines()
        self.assertTrue(all(len(line) <= 80 for line in lines))
        self.assertTrue(lines[0].startswith("name         word"))
        self.assertTrue(lines[1].startswith("             word"))
        self.assertEqual(lines[-2:], ["             next", "longer name  x"])
