"""Tests of the wheel and the source distribution: built, checked and installed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from devlxd import __version__
from devlxd.commands.outcomes import ExitStatus
from tests.integration.processes import TIMEOUT, ProcessTestCase, run

ROOT = Path(__file__).parents[2]

#: The environment of commands: they see the installed devlxd only.
ENVIRONMENT = {name: os.environ[name] for name in os.environ if name[:6] != "PYTHON"}

#: A command line of each command for guests.
GUEST_COMMANDS = [
    *("info", "config", "config user.foo", "devices", "meta-data", "ready"),
    *("events", "events --exec true", f"image get {'0' * 64}"),
]


def files_of(*directories: str) -> set[str]:
    """Return the paths of all files below directories of the checkout.

    Those that running programs leave there are not among them.
    """
    return {
        str(path.relative_to(ROOT))
        for directory in directories
        for path in (ROOT / directory).rglob("*")
        if path.is_file()
        and path.name != "dropin.cache"
        and "__pycache__" not in path.parts
    }


@functools.cache
def build_distributions() -> tempfile.TemporaryDirectory[str]:
    """Build both, the wheel from the source distribution, once for all tests.

    :return: their directory, which is removed when this process ends.
    """
    directory = tempfile.TemporaryDirectory()
    command = [sys.executable, "-m", "build", "--outdir", directory.name]
    run(*command, str(ROOT), env=ENVIRONMENT)
    return directory


class DistributionTests(ProcessTestCase):
    """What a release consists of."""

    def setUp(self) -> None:
        built = build_distributions()
        (self.wheel,) = Path(built.name).glob("*.whl")
        (self.source,) = Path(built.name).glob("*.tar.gz")

    def install(self, distribution: Path, *options: str) -> Path:
        """Install into an empty environment; return its directory of commands.

        :param options: options of ``pip install``.
        """
        environment = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, environment)
        run(sys.executable, "-m", "venv", str(environment), env=ENVIRONMENT)
        commands = environment / "bin"
        pip = [str(commands / "pip"), "install", "-qq", *options]
        run(*pip, str(distribution), env=ENVIRONMENT)
        return commands

    def test_metadata(self) -> None:
        """A package index accepts both, and can render the description."""
        command = [sys.executable, "-m", "twine", "check", "--strict"]
        printed = run(*command, str(self.wheel), str(self.source), env=ENVIRONMENT)
        self.assertEqual(printed.count("PASSED"), 2)

    def test_wheel_contents(self) -> None:
        """The wheel has all files of devlxd, the plugin, and nothing else."""
        with zipfile.ZipFile(self.wheel) as wheel:
            names = {n for n in wheel.namelist() if ".dist-info/" not in n}
        self.assertEqual(names, files_of("devlxd", "twisted"))
        self.assertIn("devlxd/py.typed", names)
        self.assertIn("twisted/plugins/devlxd_plugin.py", names)

    def test_source_contents(self) -> None:
        """The source distribution has the tests, the pages and the packaging."""
        with tarfile.open(self.source) as source:
            names = {name.partition("/")[2] for name in source.getnames()}
        expected = files_of(
            *("devlxd", "twisted", "tests", "docs", "packaging", "examples")
        )
        self.assertEqual(expected - names, set())
        for name in ("tox.ini", "pyproject.toml", "LICENSE", "CHANGELOG.rst"):
            self.assertIn(name, names)

    def test_install_wheel(self) -> None:
        """After ``pip install`` of the wheel, both commands run."""
        self.assert_runs(self.install(self.wheel))

    def test_install_source(self) -> None:
        """After ``pip install`` of the source distribution, both commands run."""
        self.assert_runs(self.install(self.source))

    def test_guest_commands(self) -> None:
        """The commands for guests run without the packages that devlxd needs."""
        commands = self.install(self.wheel, "--no-deps")
        socket = f"--socket={commands}/sock"
        for words in GUEST_COMMANDS:
            done = subprocess.run(
                [str(commands / "devlxd"), *words.split(), socket],
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT,
                env=ENVIRONMENT,
            )
            self.assertEqual(done.returncode, ExitStatus.NO_SERVICE, done)
            self.assertIn("devlxd: no server: ", done.stderr)

    def assert_runs(self, commands: Path) -> None:
        """Assert that the commands of an environment run."""
        printed = run(str(commands / "devlxd"), "--version", env=ENVIRONMENT)
        self.assertEqual(printed, f"devlxd {__version__}\n")
        twistd = str(commands / "twistd")
        printed = run(twistd, "devlxd", "--version", env=ENVIRONMENT)
        self.assertTrue(printed.startswith(f"devlxd {__version__} (Twisted "), printed)
        printed = run(twistd, "devlxd", "--help", env=ENVIRONMENT)
        self.assertIn("--containers=", printed)
        check = [str(commands / "pip"), "check"]
        self.assertIn("No broken requirements", run(*check, env=ENVIRONMENT))
