"""Tests of `devlxd.commands.main`, and of what all commands have in common."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from devlxd import __version__
from devlxd.commands import main as command
from devlxd.commands.images.arguments import IMAGES
from devlxd.commands.outcomes import ExitStatus
from devlxd.images import adding
from tests.commands.fake_admin import CommandTestCase


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all commands below one."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield each
                yield from parsers(each)


class MainTests(CommandTestCase):
    """The command line."""

    def test_version(self) -> None:
        """``devlxd --version`` prints the version."""
        self.assertEqual(self.run_command("--version"), 0)
        self.assertEqual(self.printed(), f"devlxd {__version__}\n")

    def assert_usage_error(self, reason: str, *arguments: str) -> None:
        """Check that a command line is refused with one line and status 2."""
        self.assertEqual(self.run_command(*arguments), 2)
        error = self.error()
        self.assertTrue(error.startswith("devlxd"), error)
        self.assertIn(reason, error)

    def test_usage(self) -> None:
        """A wrong command line is reported on one line, with status 2."""
        self.assert_usage_error("COMMAND")
        self.assert_usage_error("invalid choice", "x")
        self.assert_usage_error("invalid choice", "\x1b[31m\n")
        self.assert_usage_error("ACTION", "image")
        self.assert_usage_error("file", "image", "add")
        self.assert_usage_error("unrecognized", "image", "add", "a", "b", "c")
        self.assert_usage_error("not 64 hex", "image", "add", "x", "--fingerprint=a")
        self.assert_usage_error("there is no dialect x", "check", "--dialect=x")
        self.assert_usage_error("PID", "why")
        for pid in ("x", "0", "-1", "²", "9" * 20, "4194305"):
            self.assert_usage_error("", "why", pid)
        self.assert_usage_error("unrecognized", "status", "--follow")

    def test_help(self) -> None:
        """Each command describes itself, its exit statuses and all its arguments."""
        found = [*parsers(command.make_parser())]
        self.assertGreaterEqual(len(found), 7)
        for parser in found:
            self.assertTrue(parser.description, parser.prog)
            for action in parser._actions:
                self.assertTrue(action.help or action.choices, (parser.prog, action))
            if parser.get_default("run") is not None:
                self.assertIn("Exit status: ", parser.epilog or "")
                self.assertEqual(
                    self.run_command(*parser.prog.split()[1:], "--help"), 0
                )
                self.assertIn("usage: devlxd", self.printed())

    def test_signals(self) -> None:
        """SIGTERM and SIGHUP interrupt a command like Ctrl-C."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)

            def receive_signal(*_: object, number: int = number) -> None:
                os.kill(os.getpid(), number)
                signal.pause()

            self.patch(adding, "add_image", receive_signal)
            self.assertEqual(self.run_command("image", "add", "x"), 130)
            self.assertEqual(self.error(), "devlxd: interrupted")
            self.assertIs(signal.getsignal(number), before)

    def test_default_images(self) -> None:
        """The default directory of images is that of the default dialect."""
        from devlxd.guestapi.dialects import DEFAULT_DIALECT  # noqa: PLC0415 # as it

        self.assertEqual(IMAGES, DEFAULT_DIALECT.images)
        parsed = command.make_parser().parse_args(["image", "add", "x"])
        self.assertEqual(parsed.images, IMAGES)


class ProcessTests(CommandTestCase):
    """The command as a process."""

    def test_imports(self) -> None:
        """A command that asks a running devlxd does not import Twisted: it is quick."""
        self.assert_quick(["status"])

    def test_guest_imports(self) -> None:
        """Nor does a command that asks the guest API, and it reads no other command."""
        self.assert_quick(["config", "user.a"], "devlxd.commands.admin_client")
        self.assert_quick(["config"], "shtab", "pathlib", "shutil", "dataclasses")
        self.assert_quick(["events", "--exec=true"])

    def assert_quick(self, arguments: list[str], *more: str) -> None:
        """Check that a command that finds no server does not import slow modules."""
        slow = {"twisted", "zope.interface", "prometheus_client", "yaml", "attr", *more}
        code = (
            "import sys; from devlxd.commands.main import main; "
            f"status = main({[*arguments, '--socket=/nope']}); assert status == 5; "
            f"sys.exit(', '.join({slow} & {{*sys.modules}}) or 0)"
        )
        finished = subprocess.run(
            [
                sys.executable,
                "-S",
                "-c",
                f"import sys; sys.path[:] = {sys.path}; {code}",
            ],
            check=False,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.assertEqual(finished.returncode, 0, finished.stderr)

    def run_check(self, stdout: int | None) -> subprocess.CompletedProcess[str]:
        """Run ``devlxd check`` on a directory with a fault."""
        Path("documents").mkdir(exist_ok=True)
        Path("documents/c1.yaml").write_text("conifg: {}\n")
        code = "import sys; from devlxd.commands.main import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", code, "check", "documents"],
            check=False,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def test_closed_output(self) -> None:
        """If the reader of the output is gone, the command ends without a word."""
        reader, writer = os.pipe()
        os.close(reader)
        finished = self.run_check(writer)
        os.close(writer)
        self.assertEqual(finished.stderr, "")
        self.assertEqual(finished.returncode, ExitStatus.CLOSED_OUTPUT)

    def test_full_disk(self) -> None:
        """Output that cannot be written is an error of one line."""
        with open("/dev/full", "wb") as full:
            finished = self.run_check(full.fileno())
        self.assertEqual(
            finished.stderr, "devlxd: standard output: No space left on device\n"
        )
        self.assertEqual(finished.returncode, 1)
