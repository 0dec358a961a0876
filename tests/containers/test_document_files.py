"""Tests of `devlxd.containers.places`; most of it is tested through the store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.places import UnreadableError, places_of, read_document

TEXT = b"config: {user.a: b}\n"


class ReadDocumentTests(SynchronousTestCase):
    """Reading a document."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        (self.path / "c1.yaml").write_bytes(TEXT)

    def test_content(self) -> None:
        """It comes with its place and its bytes."""
        document = read_document("c1", places_of(self.path, "c1"))
        assert document is not None
        self.assertEqual(document.content, TEXT)
        self.assertEqual(document.place.path, self.path / "c1.yaml")
        self.assertIsNone(read_document("c2", places_of(self.path, "c2")))

    def test_written_meanwhile(self) -> None:
        """What is written to while it is read is not believed, but read again."""
        path = self.path / "c1.yaml"
        fstat = os.fstat
        for text in (b"", TEXT * 2, TEXT):
            calls = count(1)

            def write_then_fstat(
                descriptor: int, text: bytes = text, calls: Iterator[int] = calls
            ) -> os.stat_result:
                # The first is to open it, the second before it is read.
                if next(calls) == 3:  # as said
                    path.write_bytes(text)
                    os.utime(path, (1, 1))
                return fstat(descriptor)

            path.write_bytes(TEXT)
            with self.assertRaises(UnreadableError) as caught:
                patcher = MonkeyPatcher((os, "fstat", write_then_fstat))
                patcher.runWithPatches(read_document, "c1", places_of(self.path, "c1"))
            self.assertIn("was written to while it was read", str(caught.exception))
            self.assertTrue(caught.exception.may_pass)
