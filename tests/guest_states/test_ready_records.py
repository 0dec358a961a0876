"""Tests of `devlxd.guest_states.ready_records`: failures of the file."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from devlxd.guest_states.ready_file import ReadyFile
from devlxd.guest_states.ready_records import RETRY, ReadyRecords
from devlxd.model import Init
from devlxd.sqlite_files import StateFileError
from tests.guest_states.files import ONE, TWO, StatesFileTestCase


class FailingFile(ReadyFile):
    """A file on a disk that may be full.

    :ivar is_full: whether it is.
    :ivar space: how many calls of `write` succeed before it is full; ``None`` for any.
    :ivar writes: how many records each successful call of `write` has written.
    """

    is_full = False
    space: int | None = None

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.writes: list[int] = []

    def write(
        self, changed: Mapping[str, Init | None], removed: Collection[str]
    ) -> None:
        """See `ReadyFile.write`."""
        if self.is_full:
            raise StateFileError(f"{self.path}: the disk is full")
        super().write(changed, removed)
        self.writes.append(len(changed) + len(removed))
        self.is_full = len(self.writes) == self.space


class ReadyRecordsTests(StatesFileTestCase):
    """Records in a file that fails."""

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`."""
        super().setUp()
        self.clock = Clock()
        self.file = FailingFile(str(self.path))
        self.records = ReadyRecords(self.file, self.clock)
        self.assertEqual(self.records.open(), {})

    def test_one_by_one(self) -> None:
        """Each change writes one record, not all."""
        self.records.put("c1", ONE)
        self.records.put("c2", None)
        self.records.remove("c1")
        self.assertEqual(self.file.writes, [1, 1, 1])
        self.records.close()
        self.assertEqual(self.rows(), [("c2", None, None, None)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_full_disk(self) -> None:
        """A full disk is logged once; what is missing is written when it has space."""
        self.records.put("c1", ONE)
        self.file.is_full = True
        with capturedLogs() as events:
            self.records.remove("c1")
            self.records.put("c2", TWO)
            self.clock.advance(RETRY)
            self.records.put("c3", ONE)
            self.clock.advance(RETRY)
            self.file.is_full = False
            self.clock.advance(RETRY)
            self.clock.advance(RETRY)
        failed, again = map(formatEvent, events)
        self.assertIn("the disk is full; guest states are kept in memory only", failed)
        self.assertIn("are written to it again", again)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.records.close()
        self.assertEqual([row[0] for row in self.rows()], ["c2", "c3"])

    def test_many(self) -> None:
        """Many records are written in parts, so that no guest waits for all."""
        self.file.is_full = True
        for number in range(250):
            self.records.put(f"c{number}", ONE)
        self.file.is_full = False
        self.clock.advance(RETRY)
        self.assertEqual(self.file.writes, [100, 100, 50])
        self.records.close()
        self.assertEqual(len(self.rows()), 250)

    def test_closed_while_full(self) -> None:
        """The records can be closed while the file fails."""
        self.file.is_full = True
        self.records.put("c1", ONE)
        self.records.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed_before_the_rest(self) -> None:
        """Closing ends even if the disk is full when the rest is written."""
        self.file.is_full = True
        for number in range(350):
            self.records.put(f"c{number}", ONE)
        self.file.is_full, self.file.space = False, 2
        self.clock.advance(RETRY)
        self.file.is_full, self.file.space = False, 3
        self.records.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.rows()), 200)

    def test_unusable(self) -> None:
        """With an unusable file the records are in memory, until it is usable."""
        self.records.close()
        other = ReadyFile(str(self.path))
        other.open()
        with capturedLogs() as events:
            self.assertEqual(self.records.open(), {})
            self.records.put("c1", ONE)
            self.clock.advance(RETRY)
            other.close()
            self.clock.advance(RETRY)
        self.assertEqual(len(events), 2, events)
        self.records.close()
        self.assertEqual([row[0] for row in self.rows()], ["c1"])
