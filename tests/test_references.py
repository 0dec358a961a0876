"""Tests of references between files: each names something that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.interface import InterfaceClass

ROOT = Path(__file__).parents[1]

#: The directories of the repository that have text in them.
DIRECTORIES = (
    ".ci",
    "benchmarks",
    "devlxd",
    "docs",
    "examples",
    "newsfragments",
    "packaging",
    "tests",
    "twisted",
)

SUFFIXES = {"", ".cfg", ".ini", ".md", ".py", ".rst", ".toml", ".yaml", ".yml"}

#: The path of a file in the repository; NAME in it is for the reader to replace.
PATH = re.compile(
    r"(?<![\w/.-])((?:\.ci|benchmarks|devlxd|docs|examples|newsfragments|packaging|tests"
    r"|twisted)/[\w/.-]+\.(?:py|rst|md|ini|toml|yaml|yml|inc))\b"
)

#: A Markdown file by its name, and the number of a note that is kept elsewhere.
NOTE = re.compile(r"(?<![\w.-])([\w/-]+\.md)\b")
NUMBER = re.compile(r"\bT\d{1,2}\b")

#: A Python object by its full name, as docstrings and pages refer to it; not a unit
#: of systemd, nor the configuration.
OBJECT = re.compile(r"`(devlxd(?!\.(?:socket|yaml)`)(?:\.[A-Za-z_]\w*)+)`")

#: A module of tests, as the pages and tox.ini name it; test_toy is an example.
TESTS = re.compile(r"(?<![\w.])tests(?:\.(?!test_toy\b)\w+)+")

TEST_CASE_NAME = re.compile(r"^# -\*- test-case-name: (\S+) -\*-$", re.MULTILINE)


def files() -> Iterator[Path]:
    """Yield the text files of the repository."""
    yield from (path for path in ROOT.iterdir() if path.suffix in SUFFIXES)
    for directory in DIRECTORIES:
        yield from (
            path
            for path in (ROOT / directory).rglob("*")
            if path.suffix in SUFFIXES and "__pycache__" not in path.parts
        )


def texts() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file, except for this one."""
    for path in files():
        if path.is_file() and path != Path(__file__):
            yield str(path.relative_to(ROOT)), path.read_text()


def find(name: str) -> object:
    """Return the object of a full name; it may be a member of an interface.

    :raises Exception: when there is no such object.
    """
    owner, _, member = name.rpartition(".")
    found = namedAny(owner)
    if isinstance(found, InterfaceClass):
        return found[member]
    # Attributes without a default are not attributes of the class.
    if member in getattr(found, "__annotations__", ()):
        return found
    return namedAny(name)


class ReferenceTests(SynchronousTestCase):
    """What the files of the repository refer to."""

    def test_paths(self) -> None:
        """Each path of a file in the repository exists."""
        missing = [
            f"{name}: {path}"
            for name, text in texts()
            for path in PATH.findall(text)
            if "NAME" not in path and not (ROOT / path).exists()
        ]
        self.assertEqual(missing, [])

    def test_notes(self) -> None:
        """No file refers to notes that are not part of the repository."""
        notes = {path.name for path in files() if path.suffix == ".md"}
        missing = [
            f"{name}: {note}"
            for name, text in texts()
            for note in NOTE.findall(text)
            if Path(note).name not in notes
        ]
        numbers = [
            f"{name}: {number}"
            for name, text in texts()
            if name.endswith((".py", ".rst", ".md"))
            for number in NUMBER.findall(text)
        ]
        self.assertEqual(missing + numbers, [])

    def test_objects(self) -> None:
        """Each module, class or function that is named in full can be imported."""
        missing = []
        for file, text in texts():
            for name in OBJECT.findall(text):
                try:
                    find(name)
                except Exception as error:
                    missing.append(f"{file}: {name}: {error!r}")
        self.assertEqual(missing, [])

    def test_modules_of_tests(self) -> None:
        """The modules of tests that pages and tox.ini name exist."""
        missing = [
            f"{name}: {module}"
            for name, text in texts()
            if name.endswith((".rst", ".ini"))
            for module in TESTS.findall(text)
            if not (ROOT / f"{module.replace('.', '/')}.py").exists()
            and not (ROOT / module.replace(".", "/")).is_dir()
        ]
        self.assertEqual(missing, [])

    def test_test_case_names(self) -> None:
        """The tests that a module names exist."""
        missing = []
        for file, text in texts():
            for names in TEST_CASE_NAME.findall(text):
                for name in names.split(","):
                    try:
                        namedAny(name)
                    except Exception as error:
                        missing.append(f"{file}: {name}: {error!r}")
        self.assertEqual(missing, [])
