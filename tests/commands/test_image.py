"""Tests of ``devlxd image add``."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from tests.commands.fake_admin import CommandTestCase


class ImageAddTests(CommandTestCase):
    """``devlxd image add``."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(tempfile.mkdtemp(dir="."))
        self.file = Path(tempfile.mkdtemp(dir=".")) / "image.tar"
        self.file.write_bytes(b"data")
        self.fingerprint = hashlib.sha256(b"data").hexdigest()

    def add(self, *arguments: str) -> str:
        """Run ``devlxd image add``; return its output."""
        status = self.run_command(
            "image", "add", f"--images={self.directory}", *arguments
        )
        self.assertEqual(status, 0)
        return self.printed()

    def test_public(self) -> None:
        """The fingerprint is printed; options may follow arguments."""
        printed = self.add(str(self.file), "--public")
        self.assertEqual(printed, f"{self.fingerprint}\n")
        description = self.directory / f"{self.fingerprint}.yaml"
        self.assertEqual(description.read_text(), "public: true\nfilename: image.tar\n")

    def test_private(self) -> None:
        """By default an image is private."""
        self.add(str(self.file), "--fingerprint", self.fingerprint.upper())
        description = self.directory / f"{self.fingerprint}.yaml"
        self.assertIn("public: false\n", description.read_text())

    def test_split(self) -> None:
        """Two files are one split image."""
        printed = self.add(str(self.file), str(self.file))
        joined = hashlib.sha256(b"datadata").hexdigest()
        self.assertEqual(printed, f"{joined}\n")
        self.assertTrue((self.directory / f"{joined}.rootfs").exists())

    def test_refused(self) -> None:
        """An image that cannot be added is an error of one line, and status 1."""
        for images, file, reason in (
            (str(self.directory), "/nope", "/nope: No such file"),
            ("/nope", str(self.file), "no such directory"),
        ):
            status = self.run_command("image", "add", f"--images={images}", file)
            self.assertEqual(status, 1)
            self.assertIn(reason, self.error())
