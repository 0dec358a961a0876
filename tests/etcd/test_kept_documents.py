"""Tests of `devlxd.etcd.kept_documents`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.etcd.kept_documents import DELAY, RETRY, KeptDocuments
from devlxd.etcd.kept_file import KeptFile
from devlxd.etcd.kept_values import KeptDocument, Position
from devlxd.sqlite_files import StateFileError
from tests.etcd.test_kept_file import FIRST, POSITION, SECOND


class KeptDocumentsTests(SynchronousTestCase):
    """Writing in batches."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = str(Path(tempfile.mkdtemp(dir=".")).absolute() / "kept")
        self.position: Position | None = POSITION
        self.kept = self.opened()

    def opened(self) -> KeptDocuments:
        """Return documents whose file is open."""
        self.file = KeptFile(self.path)
        kept = KeptDocuments(self.file, self.clock)
        self.content = kept.open(lambda: self.position)
        self.addCleanup(kept.close)
        return kept

    def reopened(self) -> dict[bytes, KeptDocument]:
        """Close the file; return what is in it after a restart."""
        self.kept.close()
        self.kept = self.opened()
        return self.content[1]

    def test_merged(self) -> None:
        """Several changes of a key are written as one."""
        for document in (FIRST, SECOND):
            self.kept.put(b"c1", document)
        self.kept.put(b"c2", FIRST)
        self.kept.remove(b"c2")
        self.kept.put(b"c3", FIRST)
        self.kept.remove(b"c3")
        self.kept.put(b"c3", SECOND)
        self.assertEqual(self.reopened(), {b"c1": SECOND, b"c3": SECOND})
        self.assertEqual(self.content[0], POSITION)

    def test_used(self) -> None:
        """A value that was used is the last good one, until another one is."""
        self.kept.put(b"c1", FIRST)
        self.clock.advance(DELAY)
        self.kept.used(b"c1", 3, b"first")
        self.kept.put(b"c1", SECOND)
        self.assertEqual(self.reopened(), {b"c1": evolve(SECOND, good=b"first")})

    def test_before(self) -> None:
        """A change is written before it is used, and is then exact after a crash."""
        self.kept.put(b"c1", FIRST)
        self.kept.put(b"c2", FIRST)
        self.assertTrue(self.kept.is_to_be_written(b"c2"))
        self.kept.write_some(b"c2")
        self.assertFalse(self.kept.is_to_be_written(b"c1"))
        self.crash()
        self.assertEqual(self.content, (POSITION, {b"c1": FIRST, b"c2": FIRST}))

    def test_part(self) -> None:
        """A part of many changes is not exact; that of a list is not used at all."""
        self.kept.confirmed()
        self.clock.advance(DELAY)
        for number in range(150):
            self.kept.put(b"%03d" % number, FIRST)
        self.kept.write_some(b"120")
        self.assertFalse(self.kept.is_to_be_written(b"050"))
        self.assertTrue(self.kept.is_to_be_written(b"140"))
        self.kept.begin_list()
        self.assertTrue(self.kept.is_to_be_written(b"050"))
        self.crash()
        self.assertEqual(len(self.content[1]), 100)
        self.assertFalse(self.content[0].is_exact)

    def crash(self) -> None:
        """Open the file as it is after a crash."""
        self.file.close()
        self.kept = self.opened()

    def test_many(self) -> None:
        """Many documents are written in several turns."""
        for number in range(1000):
            self.kept.put(b"%d" % number, FIRST)
        write, sizes = self.file.write, []

        def count(
            good: Mapping[bytes, tuple[int, bytes | None]],
            removed: Iterable[bytes],
            documents: Mapping[bytes, KeptDocument],
            position: Position | None,
        ) -> None:
            sizes.append(len(documents))
            write(good, removed, documents, position)

        self.patch(self.file, "write", count)
        self.clock.advance(DELAY)
        self.assertEqual(sizes, [100] * 10)
        self.assertEqual(len(self.reopened()), 1000)

    def test_position(self) -> None:
        """A position that was confirmed is written, too."""
        self.kept.confirmed()
        self.clock.advance(DELAY)
        self.crash()
        self.assertEqual(self.content[0], POSITION)

    def test_not_written(self) -> None:
        """A failure is logged once, and what is missing is written later."""

        def refuse(*_: object) -> NoReturn:
            raise StateFileError("the disk is full")

        patch = self.patch(self.file, "write", refuse)
        with capturedLogs() as events:
            self.kept.put(b"c1", FIRST)
            self.clock.advance(DELAY)
            self.kept.put(b"c2", FIRST)
            self.clock.advance(RETRY)
        (event,) = events
        self.assertIn("the disk is full; devlxd does not keep", formatEvent(event))
        patch.restore()
        with capturedLogs() as events:
            self.clock.advance(RETRY)
        (event,) = events
        self.assertIn("are kept in it again", formatEvent(event))
        self.assertEqual({*self.reopened()}, {b"c1", b"c2"})

    def test_closed_after_failure(self) -> None:
        """A file that could not be written is not exact."""

        def refuse(*_: object) -> NoReturn:
            raise StateFileError("the disk is full")

        self.patch(self.file, "write", refuse)
        self.kept.put(b"c1", FIRST)
        self.clock.advance(DELAY)
        self.assertEqual(self.reopened(), {})
        self.assertFalse(self.content[0].is_exact)
        self.assertEqual(self.clock.getDelayedCalls(), [])
