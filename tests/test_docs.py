"""Tests of ``docs/``: numbers in it are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

LIMITS = Path(__file__).parents[1] / "docs" / "limits.rst"

#: A row of a table: what, how much, where.
ROW = re.compile(r"^\S.*? {2,}(\d+)(?: (\w+))? +``([\w.]+)``$", re.MULTILINE)

UNITS = {"": 1, "s": 1, "KiB": 1024, "MiB": 1024 * 1024}


class LimitsTests(SynchronousTestCase):
    """The page of limits."""

    def test_numbers(self) -> None:
        """Each limit is the constant that is named beside it."""
        rows = ROW.findall(LIMITS.read_text())
        self.assertEqual(len(rows), LIMITS.read_text().count("``devlxd."))
        self.assertGreater(len(rows), 20)
        for number, unit, name in rows:
            self.assertEqual(int(number) * UNITS[unit], namedAny(name), name)
