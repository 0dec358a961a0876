"""Tests of ``docs/``: the pages agree with the code."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import TestResult, defaultTestLoader

from twisted.python.modules import getModule
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from devlxd.guestapi import dialects
from devlxd.logs.event_names import EVENT_NAMES
from devlxd.model import LIMITS as CHANGEABLE_LIMITS
from tests.test_imports import CLIENT, LAYERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LIMITS = DOCS / "limits.rst"

#: A row of a table of limits: a description, a number and its unit, a constant.
ROW = re.compile(r"^\S.*? {2,}(\d+)(?: (\w+))? +``([\w.]+)``$", re.MULTILINE)

#: A row of the table of limits that an operator can change.
CHANGEABLE = re.compile(
    r"^``([a-z-]+)`` +(\S+(?: \S+)?)  +(\S+(?: \S+)?)  +(\S+(?: \S+)?)  +(\S.*)$",
    re.MULTILINE,
)

UNITS = {"": 1, "s": 1, "bytes": 1, "KiB": 1024, "MiB": 1024 * 1024}

#: A row of the table of log events: the format of the line, and its level.
LOG_EVENT = re.compile(r"^   \* - ``(.+)``\n     - (\w+)$", re.MULTILINE)

LEVELS = ("debug", "info", "warn", "error", "critical", "failure")

#: The same row, with the name of the event before its meaning.
NAMED_EVENT = re.compile(
    r"^   \* - ``(.+)``\n     - \w+\n     - ``([a-z-]+)``: ", re.MULTILINE
)

#: The directives that put an object into the API reference.
DOCUMENTED = re.compile(
    r"^\.\. (?:auto|py:)(?:class|data|exception|function|interface):: (\S+)$",
    re.MULTILINE,
)

#: A module whose public names are all documented by one directive.
AUTOMODULE = re.compile(r"^\.\. automodule:: (\S+)$", re.MULTILINE)

#: A block of Python in a page.
PYTHON = re.compile(r"\.\. code-block:: python\n\n((?:[ ]{4}.*\n|\n)+)")


class LimitsTests(SynchronousTestCase):
    """The page of limits."""

    def test_numbers(self) -> None:
        """Each limit has the value of the constant that is named beside it."""
        rows = ROW.findall(LIMITS.read_text())
        self.assertEqual(len(rows), LIMITS.read_text().count("``devlxd."))
        self.assertGreater(len(rows), 20)
        for number, unit, name in rows:
            self.assertEqual(int(number) * UNITS[unit], namedAny(name), name)

    def test_changeable(self) -> None:
        """The first table has every limit that an operator can change, in order."""
        self.assertEqual(
            CHANGEABLE.findall(LIMITS.read_text()),
            [
                (
                    limit.name,
                    *map(limit.shown, (limit.default, limit.least, limit.greatest)),
                    limit.description,
                )
                for limit in CHANGEABLE_LIMITS.values()
            ],
        )


def log_calls() -> Iterator[tuple[str, str]]:
    """Yield the format and the level of each line that devlxd can log."""
    for module in getModule("devlxd").walkModules():
        tree = ast.parse(Path(module.filePath.path).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                receiver = ast.unparse(node.func.value).rpartition(".")[2]
                if node.func.attr in LEVELS and re.search("log|limited", receiver):
                    yield from _format_of(node, node.func.attr)


def _format_of(call: ast.Call, level: str) -> Iterator[tuple[str, str]]:
    (line, *_) = call.args
    if isinstance(line, ast.Constant) and isinstance(line.value, str):
        yield line.value, level
    else:
        # Only RateLimitedLogger has a variable here: the line that it passes on.
        assert isinstance(line, ast.Name), ast.unparse(call)


class LogEventsTests(SynchronousTestCase):
    """The page of log events."""

    def test_complete(self) -> None:
        """The page lists exactly the lines that devlxd can log, with their levels."""
        page = (DOCS / "log_events.rst").read_text()
        self.assertEqual(sorted(LOG_EVENT.findall(page)), sorted(set(log_calls())))

    def test_names(self) -> None:
        """The page has the name of each event."""
        page = (DOCS / "log_events.rst").read_text()
        self.assertEqual(dict(NAMED_EVENT.findall(page)), dict(EVENT_NAMES))

    def test_all_rows(self) -> None:
        """Each row of the tables matches the pattern of this test."""
        page = (DOCS / "log_events.rst").read_text()
        headings = page.count("   * - line\n")
        self.assertEqual(len(LOG_EVENT.findall(page)) + headings, page.count("* - "))


def documented() -> set[str]:
    """Return the full name of each object in the API reference."""
    text = "".join(page.read_text() for page in (DOCS / "api").glob("*.rst"))
    names = set(DOCUMENTED.findall(text))
    for module in AUTOMODULE.findall(text):
        names |= {f"{module}.{name}" for name in namedAny(module).__all__}
    return names


def python_in(page: Path) -> list[str]:
    """Return the Python programs in a page."""
    return [textwrap.dedent(block) for block in PYTHON.findall(page.read_text())]


def python_blocks() -> Iterator[tuple[str, str]]:
    """Yield the file name and the source of each program in pages and examples."""
    for page in (*DOCS.rglob("*.rst"), ROOT / "README.rst"):
        for block in python_in(page):
            yield page.name, block
    for example in (ROOT / "examples").rglob("*.py"):
        yield example.name, example.read_text()


class APITests(SynchronousTestCase):
    """The API reference, which defines what is public."""

    def test_importable(self) -> None:
        """Everything public can be imported from where the reference says."""
        names = documented()
        self.assertGreater(len(names), 40)
        for name in names:
            namedAny(name)

    def test_exported(self) -> None:
        """Everything that the package exports is in the reference."""
        exported = {f"devlxd.{name}" for name in namedAny("devlxd").__all__}
        self.assertEqual(exported - documented(), set())

    def test_programs_use_what_is_public(self) -> None:
        """The programs in the pages and in ``examples/`` import public names only."""
        public = documented()
        private = [
            f"{place}: {node.module}.{alias.name}"
            for place, block in python_blocks()
            for node in ast.walk(ast.parse(block))
            if isinstance(node, ast.ImportFrom)
            and node.module is not None
            and node.module.split(".")[0] == "devlxd"
            for alias in node.names
            if f"{node.module}.{alias.name}" not in public
        ]
        self.assertEqual(private, [])


def run_tests_in(source: str) -> TestResult:
    """Run the test cases that a program defines."""
    names: dict[str, Any] = {"__name__": "tests_in_a_page"}
    exec(compile(source, "tests_in_a_page.py", "exec"), names)
    result = TestResult()
    for value in names.values():
        if isinstance(value, type) and value.__module__ == "tests_in_a_page":
            defaultTestLoader.loadTestsFromTestCase(value).run(result)
    return result


class ProgramTests(SynchronousTestCase):
    """The programs in CONTRIBUTING.rst and in docs/testing.rst."""

    def check(self, result: TestResult) -> None:
        """Check that at least one test was run, and that all have passed."""
        self.assertGreater(result.testsRun, 0)
        self.assertTrue(result.wasSuccessful(), result.errors + result.failures)

    def test_dialect(self) -> None:
        """The example of a dialect passes its test."""
        source, test, *_ = python_in(ROOT / "CONTRIBUTING.rst")
        dialect: dict[str, Any] = {"__name__": "toy"}
        exec(compile(source, "toy.py", "exec"), dialect)
        self.patch(
            dialects, "DIALECTS", {**dialects.DIALECTS, "toy": dialect["DIALECT"]}
        )
        self.check(run_tests_in(test))

    def test_testing(self) -> None:
        """The examples of tests for embedders pass."""
        programs = python_in(DOCS / "testing.rst")
        tests = [program for program in programs if "TestCase" in program]
        self.assertEqual(len(tests), 2)
        for test in tests:
            self.check(run_tests_in(test))


class PagesTests(SynchronousTestCase):
    """The page on the architecture."""

    def test_layers(self) -> None:
        """The page lists the layers that imports follow."""
        page = (DOCS / "architecture.rst").read_text()
        rows = re.findall(r"^\d+\. (.+)$", page, re.MULTILINE)
        layers = [set(re.findall(r"``(\w+)``", row)) for row in rows]
        modules = {path.stem for path in (ROOT / "devlxd").glob("[a-z]*")}
        existing = [layer & (modules | {"devlxd"}) for layer in [*LAYERS, {CLIENT}]]
        self.assertEqual(layers, [layer for layer in existing if layer])

    def test_packages(self) -> None:
        """The page lists all modules and packages of devlxd."""
        page = (DOCS / "architecture.rst").read_text()
        for path in (ROOT / "devlxd").glob("[a-z]*"):
            if path.suffix != ".typed":
                name = path.name if path.suffix else f"{path.name}/"
                self.assertIn(f"\n      {name:20}", page)
