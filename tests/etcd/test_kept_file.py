"""Tests of `devlxd.etcd.kept_file`."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from attrs import evolve
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.etcd.kept_file import KeptFile
from devlxd.etcd.kept_values import KeptDocument, Position
from devlxd.sqlite_files import StateFileError

FIRST = KeptDocument(2, 3, "t:2", b"first")
SECOND = KeptDocument(2, 4, "t:2", b"second")
POSITION = Position("17", "t", 2**63 - 1, 12.5, True)


class KeptFileTests(SynchronousTestCase):
    """The file with the documents of etcd."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir=".")).absolute() / "kept"
        self.file = self.opened()

    def opened(self) -> KeptFile:
        """Return a file that is open."""
        file = KeptFile(str(self.path))
        self.content = file.open()
        self.addCleanup(file.close)
        return file

    def reopen(self) -> None:
        """Close the file, and open it again."""
        self.file.close()
        self.file = self.opened()

    def test_new(self) -> None:
        """A new file is empty, and only its owner can read it."""
        self.assertEqual(self.content, (Position(), {}))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_written(self) -> None:
        """What is written is there after a restart; a part of it is not exact."""
        self.file.write({}, [], {b"\xff": FIRST, b"c2": FIRST}, POSITION)
        self.reopen()
        self.assertEqual(self.content, (POSITION, {b"\xff": FIRST, b"c2": FIRST}))
        self.file.write({}, [b"c2"], {}, None)
        self.reopen()
        documents = {b"\xff": FIRST}
        self.assertEqual(self.content, (evolve(POSITION, is_exact=False), documents))

    def test_good(self) -> None:
        """The last value that was used stays beside those that were not."""
        self.file.write({}, [], {b"c1": FIRST}, None)
        self.file.write({b"c1": (3, b"first")}, [], {}, None)
        self.reopen()
        self.assertEqual(self.content[1], {b"c1": evolve(FIRST, is_good=True)})
        for _ in range(2):
            self.file.write({}, [], {b"c1": SECOND}, None)
        self.reopen()
        self.assertEqual(self.content[1], {b"c1": evolve(SECOND, good=b"first")})
        self.file.write({b"c1": (3, b"older")}, [], {}, None)
        self.reopen()
        self.assertEqual(self.content[1], {b"c1": evolve(SECOND, good=b"older")})
        self.file.write({b"c1": (4, b"second")}, [b"c1"], {b"c1": FIRST}, None)
        self.reopen()
        self.assertEqual(self.content[1], {b"c1": FIRST})

    def test_newer(self) -> None:
        """The file of a newer devlxd is refused."""
        self.file.close()
        with contextlib.closing(sqlite3.connect(self.path)) as newer:
            newer.execute("PRAGMA user_version = 99")
        self.assertRaises(StateFileError, self.file.open)
        self.assertRaises(StateFileError, self.file.check)
        with contextlib.closing(sqlite3.connect(self.path)) as newer:
            newer.execute("PRAGMA user_version = 1")

    def test_locked(self) -> None:
        """Only one process uses the file."""
        error = self.assertRaises(StateFileError, KeptFile(str(self.path)).check)
        self.assertIn("locked", str(error))
        self.file.close()
        KeptFile(str(self.path)).check()

    def test_damaged(self) -> None:
        """A wrong value, and another schema, are damage."""
        for statement in (
            "UPDATE position SET revision = 'x'",
            "UPDATE documents SET origin = x'00'",
            "DROP TABLE position",
        ):
            self.file.write({}, [], {b"c1": FIRST}, POSITION)
            self.file.close()
            with contextlib.closing(sqlite3.connect(self.path)) as damaged:
                damaged.execute(statement)
                damaged.commit()
            with capturedLogs() as events:
                self.file = self.opened()
            self.assertIn("is damaged", formatEvent(events[0]))
            self.assertEqual(self.content, (Position(), {}))

    def test_foreign(self) -> None:
        """A database of another program is renamed, not used."""
        self.file.close()
        self.path.unlink()
        with contextlib.closing(sqlite3.connect(self.path)) as foreign:
            foreign.execute("CREATE TABLE other (x)")
        with capturedLogs() as events:
            self.file = self.opened()
        self.assertIn("not written by devlxd", formatEvent(events[0]))

    def test_closed(self) -> None:
        """A file that is closed is not written."""
        self.file.close()
        self.assertRaises(StateFileError, self.file.write, {}, [], {}, None)
        self.assertFalse(self.file.is_open)
