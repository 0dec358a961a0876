"""Tests of `devlxd.testing.pytest_plugin`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

#: Tests of which the first passes, and the second leaves something.
TESTS = """
import pytest

@pytest.mark.parametrize("devlxd_dialect", ["lxd", "incus"])
def test_dialect(devlxd, devlxd_dialect):
    devlxd.set_config("c1", "user.a", "1")

def test_leftovers(devlxd):
    devlxd.fail_next(500)
"""


class PluginTests(SynchronousTestCase):
    """The fixture ``devlxd``."""

    def test_fixture(self) -> None:
        """Each test has a new server; one that leaves something is an error."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "test_it.py").write_text(TESTS)
        options = ["-q", "-p", "no:cacheprovider", "-p", "devlxd.testing.pytest_plugin"]
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", *options, str(directory)],
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.assertIn("3 passed, 1 error", finished.stdout)
        self.assertIn("an unused failure", finished.stdout)

    def test_optional(self) -> None:
        """`devlxd.testing` does not import pytest."""
        code = "import sys, devlxd.testing; sys.exit('pytest' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)
