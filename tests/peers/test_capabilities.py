"""Tests of `devlxd.peers.capabilities`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from devlxd.peers.capabilities import check_may_identify

#: Says what comes of the check, and whether the kernel lets this process look
#: at the namespaces of one that belongs to another user.
TRY = """
import os, sys
from devlxd.peers.capabilities import check_may_identify
try:
    check_may_identify()
    print("may")
except PermissionError as error:
    print(error)
try:
    os.stat(f"/proc/{sys.argv[1]}/ns/pid")
    print("can")
except PermissionError:
    print("cannot")
"""


def nobody(*capabilities: str) -> list[str]:
    """Return what starts a program as nobody, with some capabilities.

    It may read Python and devlxd wherever they are.
    """
    given = ",".join(f"+{name}" for name in ("dac_read_search", *capabilities))
    ids = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    return ["setpriv", *ids, f"--inh-caps={given}", f"--ambient-caps={given}"]


NOBODY = nobody()

WITH_PTRACE = nobody("sys_ptrace")


class CheckMayIdentifyTests(SynchronousTestCase):
    """Whether this process may look at those of other users."""

    def status(self, line: str) -> Path:
        """Write what the kernel says of a process."""
        path = Path(self.mktemp())
        path.write_text(f"Name:\tCapEff:\nCapPrm:\t000001ffffffffff\n{line}\n")
        return path

    def test_capability(self) -> None:
        """With CAP_SYS_PTRACE it may, whatever else it has."""
        for line in ("CapEff:\t0000000000080000", "CapEff:\t000001ffffffffff"):
            check_may_identify(self.status(line))

    def test_missing(self) -> None:
        """Without it, root or not, one line says what is missing."""
        for line in ("CapEff:\t000001fffff7ffff", "CapEff:\t0000000000000000", ""):
            error = self.assertRaises(
                PermissionError, check_may_identify, self.status(line)
            )
            self.assertIn("CAP_SYS_PTRACE is missing", str(error))
            self.assertNotIn("\n", str(error))

    def run_as(self, who: list[str]) -> list[str]:
        """Try it as somebody else, on a process of root's."""
        with subprocess.Popen(["cat"], stdin=-1, stdout=-3) as roots:
            command = [*who, sys.executable, "-c", TRY, str(roots.pid)]
            directory = Path(__file__).parents[2]
            environment = {**os.environ, "PYTHONPATH": str(directory)}
            printed = subprocess.check_output(command, text=True, env=environment)
        return printed.splitlines()

    @skipIf(os.geteuid() != 0 or not shutil.which("setpriv"), "needs root and setpriv")
    def test_kernel(self) -> None:
        """What it says is what the kernel does, for root and for nobody."""
        self.assertEqual(self.run_as([]), ["may", "can"])
        self.assertEqual(self.run_as(WITH_PTRACE), ["may", "can"])
        said, done = self.run_as(NOBODY)
        self.assertIn("CAP_SYS_PTRACE is missing", said)
        self.assertEqual(done, "cannot")
