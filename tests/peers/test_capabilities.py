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

#: Prints the result of the check, and whether the kernel lets this process
#: examine the namespaces of the process whose pid is its last argument.
PROGRAM = """
import os, sys
from devlxd.peers.capabilities import check_may_identify
try:
    check_may_identify()
    print("may")
except PermissionError as error:
    print(error)
try:
    os.stat(f"/proc/{sys.argv[-1]}/ns/pid")
    print("can")
except PermissionError:
    print("cannot")
"""


def as_nobody(*capabilities: str) -> list[str]:
    """Return a command that runs a program as ``nobody`` with some capabilities.

    ``CAP_DAC_READ_SEARCH`` is always one of them: Python and devlxd may be
    installed in a directory that the user nobody cannot read.
    """
    given = ",".join(f"+{name}" for name in ("dac_read_search", *capabilities))
    ids = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    return ["setpriv", *ids, f"--inh-caps={given}", f"--ambient-caps={given}"]


class CheckMayIdentifyTests(SynchronousTestCase):
    """`check_may_identify`."""

    def status(self, line: str) -> Path:
        """Write a file like ``/proc/PID/status``."""
        path = Path(self.mktemp())
        path.write_text(f"Name:\tCapEff:\nCapPrm:\t000001ffffffffff\n{line}\n")
        return path

    def test_capability(self) -> None:
        """A process with CAP_SYS_PTRACE passes, alone or with others."""
        for line in ("CapEff:\t0000000000080000", "CapEff:\t000001ffffffffff"):
            check_may_identify(self.status(line))

    def test_missing(self) -> None:
        """A process without CAP_SYS_PTRACE fails, with one line that names it."""
        for line in ("CapEff:\t000001fffff7ffff", "CapEff:\t0000000000000000", ""):
            error = self.assertRaises(
                PermissionError, check_may_identify, self.status(line)
            )
            self.assertIn("CAP_SYS_PTRACE is missing", str(error))
            self.assertNotIn("\n", str(error))

    def run_program(self, *prefix: str) -> list[str]:
        """Run `PROGRAM` on a process of root; return its output."""
        with subprocess.Popen(["cat"], stdin=-1, stdout=-3) as process_of_root:
            command = [*prefix, sys.executable, "-c", PROGRAM, str(process_of_root.pid)]
            directory = Path(__file__).parents[2]
            environment = {**os.environ, "PYTHONPATH": str(directory)}
            printed = subprocess.check_output(command, text=True, env=environment)
        return printed.splitlines()

    @skipIf(os.geteuid() != 0 or not shutil.which("setpriv"), "needs root and setpriv")
    def test_kernel(self) -> None:
        """The result agrees with the kernel, for root and for nobody."""
        self.assertEqual(self.run_program(), ["may", "can"])
        self.assertEqual(self.run_program(*as_nobody("sys_ptrace")), ["may", "can"])
        message, kernel = self.run_program(*as_nobody())
        self.assertIn("CAP_SYS_PTRACE is missing", message)
        self.assertEqual(kernel, "cannot")

    @skipIf(os.geteuid() != 0 or not shutil.which("unshare"), "needs root and unshare")
    def test_user_namespaces(self) -> None:
        """In a user namespace the result agrees with the kernel.

        It has all capabilities there, but none over the host's processes. With a pid
        namespace it sees no others than its own.
        """
        message, kernel = self.run_program("unshare", "-Ur")
        self.assertIn("in a user namespace of its own", message)
        self.assertEqual(kernel, "cannot")
        own = ["unshare", "-Urpf", "--mount-proc", "sh", "-c", '"$@" 1; exit', "sh"]
        self.assertEqual(self.run_program(*own), ["may", "can"])
