"""Tests of `devlxd.files`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from devlxd.files import open_regular


class OpenRegularTests(SynchronousTestCase):
    """Files, and what only looks like them."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir="."))
        self.path = self.directory / "file"

    def test_file(self) -> None:
        """A file is opened to be read."""
        self.path.write_text("abc")
        with open(open_regular(self.path)) as file:
            self.assertEqual(file.read(), "abc")

    def test_nothing_else(self) -> None:
        """A FIFO does not hold anybody up, and a directory is no file."""
        os.mkfifo(self.path)
        before = os.listdir("/proc/self/fd")
        error = self.assertRaises(OSError, open_regular, self.path)
        self.assertIn("not a regular file", str(error))
        self.assertRaises(IsADirectoryError, open_regular, self.directory)
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))

    def test_link(self) -> None:
        """A link is followed, unless it is said not to be."""
        self.path.write_text("abc")
        link = self.directory / "link"
        link.symlink_to("file")
        os.close(open_regular(link))
        self.assertRaises(OSError, open_regular, link, os.O_NOFOLLOW)
