"""Tests of ``devlxd image get``."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

from devlxd.client.errors import DoesNotMatch, NotFound
from tests.commands.guest.fake_guest import GuestCommandTestCase

FINGERPRINT = "0123456789abcdef" * 4


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """See `io.IOBase.isatty`."""
        return True


class ImageGetTests(GuestCommandTestCase):
    """``devlxd image get``."""

    def get(self, *arguments: str) -> int:
        """Run the command."""
        return self.run_command("image", "get", *arguments)

    def test_names(self) -> None:
        """The names of the files are printed: one, or two of a split image."""
        self.guest.files = (Path("a"), Path("a.rootfs"))
        self.assertEqual(self.get(FINGERPRINT, "-o", "a"), 0)
        self.assertEqual(self.printed(), "a\na.rootfs\n")
        self.assertEqual(self.notes(), [])

    def test_json(self) -> None:
        """With ``--json`` they are a list, exactly as they are."""
        self.guest.files = (Path("a\nb"),)
        self.assertEqual(self.get(FINGERPRINT), 0)
        self.assertEqual(self.printed(), "a\\nb\n")
        self.assertEqual(self.get(FINGERPRINT, "--json"), 0)
        self.assertEqual(json.loads(self.printed()), {"files": ["a\nb"]})

    def test_here(self) -> None:
        """Without ``-o`` the server's names are used in the current directory."""
        self.assertEqual(self.get(FINGERPRINT.upper()), 0)
        self.assertEqual(self.guest.downloaded, [(FINGERPRINT, Path(), False)])

    def test_force(self) -> None:
        """Files are only replaced with ``--force``."""
        self.guest.files = FileExistsError(errno.EEXIST, "File exists", "a")
        self.assertEqual(self.get(FINGERPRINT, "-o", "a"), 1)
        self.assertEqual(self.error(), "devlxd: a: File exists; try --force")
        self.guest.files = (Path("a"),)
        self.assertEqual(self.get(FINGERPRINT, "-o", "a", "--force"), 0)
        self.assertEqual(
            self.guest.downloaded,
            [(FINGERPRINT, Path("a"), False), (FINGERPRINT, Path("a"), True)],
        )

    def test_disk(self) -> None:
        """A file that cannot be written is named."""
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a\x1b")
        self.guest.files = full
        self.assertEqual(self.get(FINGERPRINT), 1)
        self.assertEqual(self.error(), f"devlxd: a\\x1b: {full.strerror}")

    def test_errors(self) -> None:
        """A missing image is status 3, and a wrong one is status 1."""
        self.guest.error = NotFound("not found")
        self.assertEqual(self.get(FINGERPRINT), 3)
        self.assertEqual(self.error(), f"devlxd: {FINGERPRINT}: not found")
        self.guest.error = DoesNotMatch("another image")
        self.assertEqual(self.get(FINGERPRINT), 1)
        self.assertEqual(self.error(), "devlxd: another image")

    def test_fingerprint(self) -> None:
        """A fingerprint that is not one is an error of usage."""
        self.assertEqual(self.get("abc"), 2)
        self.assertIn("abc: not 64 hex digits", self.error())
        self.assertEqual(self.guest.opened, [])

    def test_progress(self) -> None:
        """A terminal shows the progress, and at the end no trace of it."""
        self.errors = Terminal()
        self.assertEqual(self.get(FINGERPRINT), 0)
        shown = self.errors.getvalue()
        self.assertIn("B", shown)
        self.assertTrue(shown.endswith("\r"))
