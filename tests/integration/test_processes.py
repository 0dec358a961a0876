"""Tests of how the tests start processes."""

from __future__ import annotations

import sys
from io import StringIO

from twisted.trial.reporter import TestResult
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.lxc import ServerProcess
from tests.integration.processes import SHOWN_LINES, GuestError, ProcessTestCase

#: Prints more than any pipe holds before it does what it was started for.
TALKATIVE = """
for n in range(100_000):
    print("line", n)
print("guests are served at", flush=True)
import signal
signal.pause()
"""


class ServedTests(ProcessTestCase):
    """A process that serves, or does not."""

    def test_talkative(self) -> None:
        """One that prints much is not held up, and all of it is in its log."""
        served = ServerProcess(sys.executable, "-c", TALKATIVE)
        served.stop()
        self.assertEqual(len(served.log), 100_001)
        self.assertEqual(served.log[-2:], ["line 99999\n", "guests are served at\n"])

    def test_ended(self) -> None:
        """One that ends at once is told of with what it printed."""
        command = [sys.executable, "-c", "print('no luck')"]
        error = self.assertRaises(GuestError, ServerProcess, *command)
        self.assertEqual(str(error), "it ended: no luck\n")


class Failing(ProcessTestCase):
    """Is run by the tests below."""

    def runTest(self) -> None:
        """Fail, with a process that has printed much."""
        served = ServerProcess(sys.executable, "-c", TALKATIVE)
        self.addCleanup(served.stop)
        self.fail("as it should")


class ProcessTestCaseTests(SynchronousTestCase):
    """What `ProcessTestCase` does for tests."""

    def test_failed(self) -> None:
        """A test that fails shows the last lines of what its processes printed."""
        result = TestResult()
        shown = StringIO()
        self.patch(sys, "stdout", shown)
        Failing("runTest").run(result)
        self.assertEqual(len(result.failures), 1)
        lines = [f"line {n}" for n in range(100_000 - SHOWN_LINES + 1, 100_000)]
        self.assertEqual(
            shown.getvalue().splitlines()[-SHOWN_LINES:],
            [*lines, "guests are served at"],
        )
