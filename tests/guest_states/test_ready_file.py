"""Tests of `devlxd.guest_states.ready_file`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial

from twisted.logger import capturedLogs, formatEvent

from devlxd.guest_states.ready_file import ReadyFile
from devlxd.sqlite_files import StateFileError
from tests.guest_states.files import ONE, TWO, StatesFileTestCase


class ReadyFileTests(StatesFileTestCase):
    """A file of records."""

    def open_file(self) -> ReadyFile:
        """Open a new or existing file."""
        file = ReadyFile(str(self.path))
        self.addCleanup(file.close)
        file.open()
        return file

    def reopen(self, file: ReadyFile) -> dict[str, object]:
        """Close a file; return what a later process reads."""
        file.close()
        return dict(file.open())

    def test_records(self) -> None:
        """Records are written and removed; a later process reads what is left."""
        file = self.open_file()
        file.write({"c1": ONE, "c2": None, "c3": TWO}, [])
        file.write({"c3": ONE}, ["c1", "unknown"])
        self.assertEqual(self.reopen(file), {"c2": None, "c3": ONE})

    def test_private(self) -> None:
        """Only the user of devlxd can read the files, whatever the umask."""
        self.addCleanup(os.umask, os.umask(0))
        file = self.open_file()
        file.write({"c1": ONE}, [])
        names = os.listdir(self.path.parent)
        self.assertEqual(sorted(names), ["states", "states-wal"])
        for name in names:
            self.assertEqual((self.path.parent / name).stat().st_mode & 0o777, 0o600)

    def test_killed(self) -> None:
        """What was written is not lost if the process is killed."""
        pid = os.fork()
        if not pid:
            file = ReadyFile(str(self.path))
            file.open()
            file.write({"c1": ONE}, [])
            os._exit(0)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(ReadyFile(str(self.path)).open(), {"c1": ONE})

    def test_locked(self) -> None:
        """A file that another process uses is refused, before and at the start."""
        file = self.open_file()
        other = ReadyFile(str(self.path))
        for use in (other.check, other.open):
            error = self.assertRaises(StateFileError, use)
            self.assertIn(f"{self.path}: database is locked", str(error))
        file.close()
        other.check()

    def test_newer(self) -> None:
        """The file of a newer devlxd is refused, and not changed."""
        self.open_file().close()
        self.execute("PRAGMA user_version = 99")
        before = self.path.read_bytes()
        file = ReadyFile(str(self.path))
        for use in (file.check, file.open):
            error = self.assertRaises(StateFileError, use)
            self.assertIn("its format is 99, this one's 1", str(error))
        self.assertEqual(self.path.read_bytes(), before)

    def test_not_open(self) -> None:
        """Writing to a closed file fails; `check` is content with an unusable one."""
        file = ReadyFile(str(self.path.parent / "missing" / "states"))
        file.check()
        self.assertRaises(StateFileError, file.open)
        self.assertRaises(StateFileError, file.write, {}, [])

    def test_all_or_nothing(self) -> None:
        """If one record of several cannot be written, none is."""
        file = self.open_file()
        huge = ONE.__class__(2**70, 1, "")
        self.assertRaises(StateFileError, file.write, {"c1": ONE, "c2": huge}, [])
        self.assertEqual(self.reopen(file), {})

    def test_damaged(self) -> None:
        """A damaged file is renamed, with one line in the log, and a new one begun."""

        def overwrite() -> None:
            self.path.write_bytes(b"nonsense" * 1000)

        def replace() -> None:
            self.path.unlink()
            self.path.mkdir()

        def foreign() -> None:
            self.path.unlink()
            self.execute("CREATE TABLE x (y)")

        damages: list[Callable[[], None]] = [
            overwrite,
            replace,
            foreign,
            partial(self.execute, "UPDATE ready SET container = 'a/b'"),
            partial(self.execute, "UPDATE ready SET container = x'ff'"),
            partial(self.execute, "UPDATE ready SET pid = NULL"),
            partial(self.execute, "UPDATE ready SET boot = x'00'"),
            partial(self.execute, "UPDATE ready SET boot = CAST(x'ff' AS TEXT)"),
            partial(self.execute, "DROP TABLE ready"),
        ]
        for number, damage in enumerate(damages):
            self.path = self.path.with_name(f"states{number}")
            file = self.open_file()
            file.write({"c1": ONE}, [])
            file.close()
            damage()
            with capturedLogs() as events:
                self.assertEqual(file.open(), {})
            (line,) = map(formatEvent, events)
            self.assertIn(f"{self.path} is damaged (", line)
            self.assertIn(f"renamed it to {self.path}.damaged-", line)
            file.write({"c2": TWO}, [])
            self.assertEqual(self.reopen(file), {"c2": TWO})

    def test_schema(self) -> None:
        """The file has the version of its schema."""
        self.open_file().close()
        with closing(sqlite3.connect(self.path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        self.assertEqual(version, 1)
