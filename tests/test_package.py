"""Tests of what `devlxd` exports."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

import devlxd


class ExportsTests(SynchronousTestCase):
    """The public names of the package."""

    def test_all(self) -> None:
        """Every name of ``__all__`` can be imported from the package."""
        for name in devlxd.__all__:
            self.assertIsNotNone(getattr(devlxd, name), name)
            self.assertIn(name, dir(devlxd))

    def test_unknown(self) -> None:
        """Any other name raises an `AttributeError` that contains it."""
        error = self.assertRaises(AttributeError, getattr, devlxd, "Nope")
        self.assertEqual(str(error), "module 'devlxd' has no attribute 'Nope'")

    def test_lazy(self) -> None:
        """Importing the package imports nothing else, not even Twisted."""
        code = (
            "import sys, devlxd; "
            "sys.exit(any(n.split('.')[0] == 'twisted' or n.startswith('devlxd.') "
            "for n in sys.modules))"
        )
        finished = subprocess.run([sys.executable, "-c", code], check=False)
        self.assertEqual(finished.returncode, 0)
