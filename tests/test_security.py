"""Tests of the table of attacks in ``docs/security.rst``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]

#: The file of tests that every row implies, and the one that "on text" implies.
ATTACKS = "tests/integration/test_attacks.py"
ON_TEXT = "tests/peers/test_identifier.py"

#: The tests in `ATTACKS` that do not test an attack.
NO_ATTACKS = {"test_honest", "test_searched_init", "test_five_containers"}

#: A row of the table; the group is the column with its tests.
ROW = re.compile(r"^   \* - .+\n     - ((?:.+\n)(?:       .+\n)*)", re.MULTILINE)

#: The name of a test or of a class of tests, and that of a file.
NAME = re.compile(r"``(test_\w+|\w+Tests)``")
FILE = re.compile(r"``(tests/\S+)``")


def rows() -> Iterator[tuple[set[str], set[str]]]:
    """Yield the tests that each row names, and the files that may contain them."""
    page = (ROOT / "docs" / "security.rst").read_text()
    _heading, *columns = ROW.findall(page)
    for column in columns:
        files = {ATTACKS, *FILE.findall(column)}
        if "on text" in column:
            files.add(ON_TEXT)
        yield set(NAME.findall(column)), files


def defined_in(path: str) -> set[str]:
    """Return the names of the classes and functions in a file."""
    return {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }


class AttackTableTests(SynchronousTestCase):
    """The table of attacks."""

    def test_defined(self) -> None:
        """Each test that a row names is in one of the files that it names."""
        for names, files in rows():
            defined = set().union(*map(defined_in, files))
            self.assertEqual(names - defined, set())

    def test_rows(self) -> None:
        """Each row names a test, or a file of tests."""
        page = (ROOT / "docs" / "security.rst").read_text()
        self.assertEqual(len(list(rows())) + 1, page.count("\n   * - "))
        for names, files in rows():
            self.assertTrue(names or files - {ATTACKS})

    def test_complete(self) -> None:
        """Each test that plays an attack on real containers is in the table."""
        tests = {name for name in defined_in(ATTACKS) if name.startswith("test_")}
        named = set().union(*(names for names, _files in rows()))
        self.assertEqual(tests - NO_ATTACKS - named, set())
