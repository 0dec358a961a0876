"""A short soak, so that `benchmarks.soak` works when a long one is wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.integration.lxc import missing_requirement
from tests.integration.processes import TIMEOUT, ProcessTestCase

CHECKOUT = Path(__file__).resolve().parents[2]


class SoakTests(ProcessTestCase):
    """The command, for half a minute."""

    skip = missing_requirement()

    def test_short_soak(self) -> None:
        """All kinds of guests together receive right answers; files are closed."""
        options = ["--minutes=0.5", "--containers=3", "--lxc=1", "--seed=1"]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.soak", *options],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=2 * TIMEOUT,
            check=False,
        )
        output = done.stdout + done.stderr
        # The memory is not yet flat then: the exit status may be 1.
        self.assertIn("; 0 failures: ", output, output)
        self.assertIn("\nflat      descriptors ", output, output)
        self.assertIn("events heard", output, output)
