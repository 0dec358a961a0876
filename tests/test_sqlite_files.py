"""Tests of `devlxd.sqlite_files`. Those of damage are in `tests.events`."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from contextlib import closing

from twisted.trial.unittest import SynchronousTestCase

from devlxd.sqlite_files import (
    PRAGMAS,
    connect,
    create_private,
    delete,
    rename_damaged,
    version_of,
)


class SQLiteFilesTests(SynchronousTestCase):
    """A file that one process uses."""

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`."""
        self.directory = tempfile.mkdtemp(dir=".")
        self.path = f"{self.directory}/file"

    def modes(self) -> dict[str, int]:
        """Return the names and the permissions of all files."""
        return {
            entry.name: stat.S_IMODE(entry.stat().st_mode)
            for entry in os.scandir(self.directory)
        }

    def test_private(self) -> None:
        """Only this user can read the file and those beside it, whatever the umask."""
        self.addCleanup(os.umask, os.umask(0))
        create_private(self.path)
        with closing(connect(self.path)) as connection:
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("CREATE TABLE x (y)")
            self.assertEqual(self.modes(), {"file": 0o600, "file-wal": 0o600})

    def test_exclusive(self) -> None:
        """A second connection to the file is refused at once."""
        with (
            closing(connect(self.path)) as first,
            closing(connect(self.path)) as second,
        ):
            first.execute("CREATE TABLE x (y)")
            error = self.assertRaises(sqlite3.OperationalError, version_of, second)
            self.assertIn("locked", str(error))

    def test_rename(self) -> None:
        """A file is renamed, or deleted, together with those beside it."""
        for suffix in ("", "-wal"):
            create_private(self.path + suffix)
        path = rename_damaged(self.path)
        name = os.path.basename(path)
        self.assertRegex(name, r"^file\.damaged-\d{8}T\d{6}$")
        self.assertEqual(sorted(self.modes()), [name, f"{name}-wal"])
        delete(path)
        self.assertEqual(self.modes(), {})
