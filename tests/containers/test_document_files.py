"""Tests of reading the files of documents."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.document_files import read_document
from devlxd.containers.document_paths import UnreadableError, find_documents

TEXT = b"config: {user.a: b}\n"


class ReadDocumentTests(SynchronousTestCase):
    """Reading a document from its file."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))
        (self.path / "c1.yaml").write_bytes(TEXT)

    def test_content(self) -> None:
        """A document is read with its path and bytes; ``None`` if there is none."""
        document = read_document("c1", find_documents(self.path, "c1"))
        assert document is not None
        self.assertEqual(document.content, TEXT)
        self.assertEqual(document.path.path, self.path / "c1.yaml")
        self.assertIsNone(read_document("c2", find_documents(self.path, "c2")))

    def test_modified_meanwhile(self) -> None:
        """A document that is modified while it is read causes a transient error."""
        path = self.path / "c1.yaml"
        fstat = os.fstat
        for text in (b"", TEXT * 2, TEXT):
            calls = count(1)

            def write_then_fstat(
                descriptor: int, text: bytes = text, calls: Iterator[int] = calls
            ) -> os.stat_result:
                # `open_regular` makes the first call; the second is before the read.
                if next(calls) == 3:
                    path.write_bytes(text)
                    os.utime(path, (1, 1))
                return fstat(descriptor)

            path.write_bytes(TEXT)
            with self.assertRaises(UnreadableError) as caught:
                patcher = MonkeyPatcher((os, "fstat", write_then_fstat))
                patcher.runWithPatches(
                    read_document, "c1", find_documents(self.path, "c1")
                )
            self.assertIn("was modified while it was read", str(caught.exception))
            self.assertTrue(caught.exception.is_transient)
