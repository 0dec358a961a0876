"""Tests of `tests.integration.processes` and of `ServerProcess`."""

from __future__ import annotations

import sys
from io import StringIO

from twisted.trial.reporter import TestResult
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import SHOWN_LINES, GuestError, ProcessTestCase
from tests.integration.servers import LISTENING, ServerProcess

#: Prints more than a pipe can hold, and then listens.
VERBOSE = f"""
for n in range(100_000):
    print("line", n)
print({LISTENING!r}, flush=True)
import signal
signal.pause()
"""


class ServerProcessTests(ProcessTestCase):
    """Tests of `ServerProcess`."""

    def test_verbose(self) -> None:
        """A verbose process is not blocked, and its log is complete."""
        server = ServerProcess(sys.executable, "-c", VERBOSE)
        server.stop()
        self.assertEqual(len(server.log), 100_001)
        self.assertEqual(server.log[-2:], ["line 99999\n", f"{LISTENING}\n"])

    def test_ended(self) -> None:
        """For a process that ends before it listens, the error contains its output."""
        command = [sys.executable, "-c", "print('no luck')"]
        error = self.assertRaises(GuestError, ServerProcess, *command)
        self.assertEqual(str(error), "the process has ended: no luck\n")


class FailingTest(ProcessTestCase):
    """A failing test, for `ProcessTestCaseTests`."""

    def runTest(self) -> None:
        """Fail while a verbose process runs."""
        server = ServerProcess(sys.executable, "-c", VERBOSE)
        self.addCleanup(server.stop)
        self.fail("expected")


class ProcessTestCaseTests(SynchronousTestCase):
    """Tests of `ProcessTestCase`."""

    def test_failed(self) -> None:
        """A failed test shows the last lines of the output of its processes."""
        result = TestResult()
        shown = StringIO()
        self.patch(sys, "stdout", shown)
        FailingTest("runTest").run(result)
        self.assertEqual(len(result.failures), 1)
        lines = [f"line {n}" for n in range(100_000 - SHOWN_LINES + 1, 100_000)]
        self.assertEqual(
            shown.getvalue().splitlines()[-SHOWN_LINES:],
            [*lines, LISTENING],
        )
