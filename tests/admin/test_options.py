"""Tests of `devlxd.admin.options`."""

from __future__ import annotations

import os
import tempfile

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.options import AdminOptions


class AdminOptionsTests(SynchronousTestCase):
    """``--admin``."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, self.directory)
        self.path = f"{self.directory}/x.sock"

    def parse(self, *values: str, taken: tuple[str, ...] = ()) -> AdminOptions:
        """Parse and check a command line."""
        options = AdminOptions()
        options.parseOptions([f"--admin={value}" for value in values])
        options.check_admin(taken)
        return options

    def assert_refused(self, text: str, *values: str) -> None:
        """Check that a command line is refused."""
        error = self.assertRaises(usage.UsageError, self.parse, *values)
        self.assertEqual(str(error), text)

    def test_default(self) -> None:
        """There is no operator's socket by default."""
        self.assertEqual(self.parse()["admin"], [])

    def test_repeated(self) -> None:
        """The option may be repeated."""
        unix, tcp = self.parse(self.path, "tcp:0")["admin"]
        self.assertEqual((unix.typed, tcp.typed), (self.path, "tcp:0"))

    def test_twice(self) -> None:
        """One endpoint cannot be used twice, nor one for guests."""
        for second in (self.path, f"unix:{self.path}:mode=660"):
            text = f"--admin: {second} is given twice"
            self.assert_refused(text, self.path, second)
        self.assertRaises(
            usage.UsageError,
            self.parse,
            self.path,
            taken=(os.path.realpath(self.path),),
        )

    def test_errors(self) -> None:
        """Errors name the option and the endpoint."""
        self.assert_refused("--admin: must not be empty", "")
        self.assert_refused("--admin: unknown kind of endpoint: udp", "udp:1")
        self.assert_refused(
            "--admin: unix:/x:mode=rw: must have the form unix:PATH[:mode=MODE]",
            "unix:/x:mode=rw",
        )
