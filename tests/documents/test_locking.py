"""Tests of `devlxd.documents.locking`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.documents.locking import TIMEOUT, LockTimeoutError, locked


class LockTests(SynchronousTestCase):
    """The lock of a directory."""

    def setUp(self) -> None:
        self.path = Path(tempfile.mkdtemp(dir="."))

    def test_one_holder(self) -> None:
        """Only one can hold the lock; others wait, and give up after a minute."""
        clock = Clock()
        with locked(self.path):
            second = locked(self.path, clock.seconds, clock.advance)
            self.assertRaises(LockTimeoutError, second.__enter__)
        self.assertGreaterEqual(clock.seconds(), TIMEOUT)

    def test_released(self) -> None:
        """The next one gets the lock as soon as it is released, also by an error."""
        first = locked(self.path)
        first.__enter__()
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            first.__exit__(None, None, None)

        with locked(self.path, sleep=sleep):
            pass
        self.assertEqual(len(waits), 1)
        failing = locked(self.path)
        failing.__enter__()
        error = ZeroDivisionError()
        self.assertFalse(failing.__exit__(type(error), error, None))
        with locked(self.path):
            pass

    def test_nothing_left(self) -> None:
        """The lock is no file, and a link to the directory has the same lock."""
        link = self.path.with_suffix(".link")
        os.symlink(self.path.absolute(), link)
        clock = Clock()
        with locked(link):
            second = locked(self.path, clock.seconds, clock.advance)
            self.assertRaises(LockTimeoutError, second.__enter__)
        self.assertEqual(os.listdir(self.path), [])

    def test_missing(self) -> None:
        """A missing directory is an error."""
        missing = locked(self.path / "x")
        self.assertRaises(FileNotFoundError, missing.__enter__)
