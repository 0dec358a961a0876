"""Tests of `devlxd.commands.main`."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from devlxd import __version__
from devlxd.commands import main as command


class ImageAddTests(SynchronousTestCase):
    """``devlxd image add``."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir="."))
        self.file = Path(tempfile.mkdtemp(dir=".")) / "image.tar"
        self.file.write_bytes(b"data")
        self.fingerprint = hashlib.sha256(b"data").hexdigest()

    def run_command(self, *arguments: str) -> str:
        """Run ``devlxd image add``; return its output."""
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        command.main(["image", "add", f"--images={self.directory}", *arguments])
        return output.getvalue()

    def assert_refused(self, reason: str, *arguments: str) -> None:
        """Check that a command line fails with one line and status 1."""
        error = self.assertRaises(SystemExit, command.main, list(arguments))
        self.assertIsInstance(error.code, str)
        self.assertTrue(str(error.code).startswith("devlxd"), error.code)
        self.assertIn(reason, str(error.code))
        self.assertNotIn("\n", str(error.code))

    def test_public(self) -> None:
        """The fingerprint is printed; options may follow arguments."""
        printed = self.run_command(str(self.file), "--public")
        self.assertEqual(printed, f"{self.fingerprint}\n")
        description = self.directory / f"{self.fingerprint}.yaml"
        self.assertEqual(description.read_text(), "public: true\nfilename: image.tar\n")

    def test_private(self) -> None:
        """By default an image is private."""
        self.run_command(str(self.file), "--fingerprint", self.fingerprint.upper())
        description = self.directory / f"{self.fingerprint}.yaml"
        self.assertIn("public: false\n", description.read_text())

    def test_split(self) -> None:
        """Two files are one split image."""
        printed = self.run_command(str(self.file), str(self.file))
        joined = hashlib.sha256(b"datadata").hexdigest()
        self.assertEqual(printed, f"{joined}\n")
        self.assertTrue((self.directory / f"{joined}.rootfs").exists())

    def test_default(self) -> None:
        """The default directory is the documented one."""
        parsed = command.make_parser().parse_args(["image", "add", "x"])
        self.assertEqual(parsed.images, Path("/var/lib/lxd/images"))

    def test_version(self) -> None:
        """``devlxd --version`` prints the version."""
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        error = self.assertRaises(SystemExit, command.main, ["--version"])
        self.assertEqual(error.code, 0)
        self.assertEqual(output.getvalue(), f"devlxd {__version__}\n")

    def test_refused(self) -> None:
        """Errors are reported on one line."""
        add = ("image", "add", f"--images={self.directory}")
        self.assert_refused("COMMAND")
        self.assert_refused("invalid choice", "x")
        self.assert_refused("ACTION", "image")
        self.assert_refused("file", *add)
        self.assert_refused("unrecognized", *add, "a", "b", "c")
        self.assert_refused("not 64 hex digits", *add, "x", "--fingerprint=abc")
        self.assert_refused("/nope: No such file", *add, "/nope")
        self.assert_refused("no such directory", *add, "x", "--images=/nope")

    def test_signals(self) -> None:
        """SIGTERM and SIGHUP interrupt the command like Ctrl-C."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)

            def receive_signal(*_: object, number: int = number) -> None:
                os.kill(os.getpid(), number)
                signal.pause()

            self.patch(command, "add_image", receive_signal)
            self.assert_refused("interrupted", "image", "add", str(self.file))
            self.assertIs(signal.getsignal(number), before)

    def test_interrupted(self) -> None:
        """Ctrl-C ends the command without a traceback."""

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        self.patch(command, "add_image", interrupt)
        self.assert_refused("interrupted", "image", "add", str(self.file))
