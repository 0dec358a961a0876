"""Tests of `devlxd.peers.processes`; of containers see tests/integration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.interfaces import IProcessTable
from devlxd.model import ProcessStatus
from devlxd.peers.processes import ProcFS

#: A pid that no process can have.
NOBODY = 2**22 + 1

#: Says who 0 is, and 5, in our own user namespace, and who 0 is in one below it
#: that has it as 7.
ID_MAPS = """
import os, subprocess
from devlxd.peers.processes import ProcFS

table = ProcFS()
own = table.id_map(os.getpid())
unshare = ["unshare", "-U", "cat"]
with subprocess.Popen(unshare, stdin=-1, stdout=-1) as below:
    below.stdin.write(b"x")
    below.stdin.flush()
    below.stdout.read(1)
    with open(f"/proc/{below.pid}/uid_map", "w") as file:
        file.write("7 0 1")
    print(own.inside(0), own.inside(5), table.id_map(below.pid).inside(0))
    below.stdin.close()
"""


class ProcFSTests(SynchronousTestCase):
    """What the kernel says of this very process."""

    def setUp(self) -> None:
        self.table = ProcFS()
        self.pid = os.getpid()

    def test_interface(self) -> None:
        """It is a process table."""
        self.assertTrue(verifyObject(IProcessTable, self.table))

    def test_host(self) -> None:
        """A process beside devlxd itself lives in no pid namespace below it."""
        self.assertEqual(list(self.table.pid_namespaces(self.pid)), [])
        self.assertRaises(OSError, self.table.init, self.pid)

    def test_facts(self) -> None:
        """Its cgroups are paths, and its ids those that it has."""
        cgroups = self.table.cgroups(self.pid)
        self.assertTrue(cgroups)
        self.assertTrue(all(cgroup.startswith("/") for cgroup in cgroups))
        self.assertEqual(self.table.id_map(self.pid).inside(os.getuid()), os.getuid())
        status = self.table.status(self.pid)
        self.assertEqual((status.parent, status.uid), (os.getppid(), os.getuid()))
        with open("/proc/self/comm") as file:
            self.assertEqual(f"{status.name}\n", file.read())
        self.assertTrue(os.path.samefile(self.table.program(self.pid), sys.executable))
        with open("/proc/self/cmdline") as file:
            self.assertEqual(self.table.command_line(self.pid), file.read())

    def test_user_namespaces(self) -> None:
        """In a user namespace of our own a uid is what it is, below it is mapped.

        The user of each namespace is root, whom the parent of the outer one has
        as somebody else.
        """
        try:
            printed = subprocess.check_output(
                ["unshare", "-Ur", sys.executable, "-c", ID_MAPS],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                stderr=subprocess.PIPE,
                text=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise SkipTest(f"no user namespaces here: {error}") from error
        self.assertEqual(printed, "0 5 7\n")

    def test_status(self) -> None:
        """A name that looks like other lines is a name."""
        name = "Uid:\t0\\nPPid:\t1\r"
        text = f"Name:\t{name}\nUmask:\t0022\nPPid:\t7\nUid:\t5\t0\t0\t0\n"
        self.patch(ProcFS, "_read", lambda *_: text)
        self.assertEqual(self.table.status(1), ProcessStatus(7, 5, name))
        for text in ("", "Name:\tx\n", "Name:\tx\nPPid:\t7\nUid:\tx\n"):
            self.patch(ProcFS, "_read", lambda *_, text=text: text)
            self.assertRaises(OSError, self.table.status, 1)

    def test_pidfd(self) -> None:
        """A process is alive while it is."""
        pidfd = self.table.open_pidfd(self.pid)
        self.assertTrue(self.table.is_alive(pidfd))
        self.table.close_pidfd(pidfd)
        self.assertRaises(OSError, os.fstat, pidfd)

    def test_nobody(self) -> None:
        """Of a process that is not there nothing can be said."""
        for method in (
            "cgroups",
            "pid_namespaces",
            "init",
            "id_map",
            "open_pidfd",
            "status",
            "command_line",
            "program",
        ):
            self.assertRaises(OSError, getattr(self.table, method), NOBODY)

    def test_search(self) -> None:
        """An init that is searched for is told by its pid, not by its name."""
        own = os.stat("/proc/self/ns/pid").st_ino
        for status, is_init in (
            ("Name:\tx\nNSpid:\t77\t1\n", True),
            ("Name:\tx\nNSpid:\t77\t7\n", False),
            ("Name:\tx\rNSpid: 1\nNSpid:\t77\t7\n", False),
            ("Name:\tx\n", False),
        ):
            self.patch(ProcFS, "_read", lambda *_, status=status: status)
            self.assertEqual(self.table._is_init(str(self.pid), own), is_init)
            self.assertFalse(self.table._is_init(str(self.pid), own + 1))
        self.assertFalse(self.table._is_init(str(NOBODY), own))
