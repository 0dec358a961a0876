"""A base class of tests that keep guest states in a file."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from devlxd.model import Init

BOOT = "00000000-0000-4000-8000-000000000000"

#: The inits of two runs.
ONE, TWO = Init(11, 100, BOOT), Init(12, 200, BOOT)


class StatesFileTestCase(SynchronousTestCase):
    """A base class with the path of a file for guest states."""

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`."""
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute() / "states"
        super().setUp()

    def rows(self) -> list[tuple[object, ...]]:
        """Return the rows of the file, which must be closed."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute("SELECT * FROM ready").fetchall()

    def execute(self, statement: str) -> None:
        """Execute a statement on the file, which must be closed."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)
