"""Tests of what `devlxd` exports, and of what its wheel contains."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import devlxd

ROOT = Path(__file__).parents[1]


def hatch_options(table: str) -> list[str]:
    """Return the lines of ``[tool.hatch.build{table}]`` in ``pyproject.toml``."""
    text = (ROOT / "pyproject.toml").read_text()
    head = re.escape(f"[tool.hatch.build{table}]\n")
    (options,) = re.findall(rf"^{head}(.*?)(?=^\[|\Z)", text, re.DOTALL | re.MULTILINE)
    return [line for line in options.splitlines() if line and line[0] != "#"]


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


class WheelTests(SynchronousTestCase):
    """The wheel, as hatchling is told to build it."""

    def test_complete(self) -> None:
        """The wheel has all of devlxd, with the suites for providers, and ``py.typed``.

        hatchling packages what it is told to, except files that are excluded or that
        Git ignores.
        """
        self.assertEqual(hatch_options(".targets.wheel"), ['packages = ["devlxd"]'])
        self.assertEqual(hatch_options(""), ['dev-mode-dirs = ["."]'])
        self.assertTrue((ROOT / "devlxd/testing/contracts/__init__.py").exists())
        self.assertTrue((ROOT / "devlxd/py.typed").exists())
        ignored = (ROOT / ".gitignore").read_text().split()
        paths = {path.relative_to(ROOT) for path in (ROOT / "devlxd").rglob("*")}
        packaged = [path for path in paths if "__pycache__" not in path.parts]
        self.assertEqual(
            [p for p in packaged for i in ignored if p.match(i.rstrip("/"))], []
        )

    def test_plugin(self) -> None:
        """The wheel has the plugin of twistd, which is outside of the package."""
        plugin = "twisted/plugins/devlxd_plugin.py"
        self.assertEqual(
            hatch_options(".targets.wheel.force-include"), [f'"{plugin}" = "{plugin}"']
        )
        self.assertTrue((ROOT / plugin).exists())
