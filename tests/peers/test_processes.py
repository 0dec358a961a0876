"""Tests of `devlxd.peers.processes`, and the contract of `IProcessTable`.

For tests with containers see ``tests/integration``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from devlxd import pidfds
from devlxd.interfaces import IProcessTable
from devlxd.model import ProcessStatus
from devlxd.peers.processes import ProcFS
from devlxd.pidfds import cgroup_id_of
from devlxd.testing import MemoryProcess, MemoryProcessTable
from devlxd.testing.contracts import ProcessTableContract
from devlxd.testing.contracts.processes import NO_PID
from tests.descriptors import Descriptors

#: Prints the uids that 0 and 5 have inside the program's own user namespace, and
#: the uid that 0 has inside a namespace below it, which maps 0 to 7.
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


class MemoryProcessTableTests(ProcessTableContract, SynchronousTestCase):
    """The contract of `IProcessTable`, run on `MemoryProcessTable`."""

    expected_parent = 1
    expected_uid = 1000
    expected_program = "/bin/cat"

    def make_table(self) -> IProcessTable:
        self.memory = MemoryProcessTable()
        return self.memory

    def start_process(self) -> int:
        self.memory.processes[10] = MemoryProcess(
            "0::/user.slice\n",
            parent=1,
            uid=1000,
            command_line="cat\0",
            program="/bin/cat",
        )
        return 10

    def end_process(self, pid: int) -> None:
        del self.memory.processes[pid]

    def start_in_namespace(self) -> int:
        self.memory.processes[20] = MemoryProcess("0::/lxc.payload.c1\n", [77])
        self.memory.inits[77] = 20
        return 20


class ProcFSContractTests(ProcessTableContract, SynchronousTestCase):
    """The contract of `IProcessTable`, run on `ProcFS` and processes of the test."""

    expected_parent = os.getpid()
    expected_uid = os.getuid()

    def make_table(self) -> IProcessTable:
        self.started: dict[int, subprocess.Popen[bytes]] = {}
        self.addCleanup(self.end_all)
        return ProcFS()

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command that copies its input, and wait until it does so."""
        started = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.started[started.pid] = started
        assert started.stdin is not None and started.stdout is not None
        started.stdin.write(b"x")
        self.assertEqual(started.stdout.read(1), b"x")
        return started

    def start_process(self) -> int:
        pid = self.start("cat").pid
        self.expected_program = os.readlink(f"/proc/{pid}/exe")
        return pid

    def end_process(self, pid: int) -> None:
        with self.started.pop(pid) as process:
            process.kill()

    def end_all(self) -> None:
        """End all processes that were started."""
        for pid in list(self.started):
            self.end_process(pid)

    def start_in_namespace(self) -> int:
        if os.geteuid() != 0 or not shutil.which("unshare"):
            raise SkipTest("creating a pid namespace needs root and unshare(1)")
        unshare = self.start("unshare", "-pf", "--kill-child", "cat").pid
        children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text()
        return int(children)


class ProcFSTests(SynchronousTestCase):
    """`ProcFS`, on this process."""

    def setUp(self) -> None:
        self.table = ProcFS()
        self.pid = os.getpid()

    def test_host(self) -> None:
        """devlxd itself is in the host's pid namespace."""
        self.assertEqual(list(self.table.pid_namespaces(self.pid)), [])
        self.assertRaises(OSError, self.table.init, self.pid)

    def test_facts(self) -> None:
        """The facts of this process are correct."""
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
        """Uids stay the same in devlxd's own user namespace, and are mapped below it.

        The user is root in each of the two namespaces, and has another uid in
        the parent of the outer one.
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
        """A process cannot forge lines of its status with its name."""
        name = "Uid:\t0\\nPPid:\t1\r"
        text = f"Name:\t{name}\nUmask:\t0022\nPPid:\t7\nUid:\t5\t6\t0\t0\n"
        self.patch(ProcFS, "_read", lambda *_: text)
        self.assertEqual(self.table.status(1), ProcessStatus(7, 5, name, 6))
        for text in ("", "Name:\tx\n", "Name:\tx\nPPid:\t7\nUid:\t5\n"):
            self.patch(ProcFS, "_read", lambda *_, text=text: text)
            self.assertRaises(OSError, self.table.status, 1)

    def test_stat(self) -> None:
        """A process cannot forge the time of its start with its name."""
        after = " ".join(map(str, range(3, 53)))
        for name in ("cat", "a b", "x) R 1 1 1 1", ")", "(", "x\n) 9", ""):
            text = f"7 ({name}) {after}\n"
            self.patch(ProcFS, "_read", lambda *_, text=text: text)
            self.assertEqual(self.table.started(7), 22)
        for text in ("", "7 (cat) R 1\n", f"7 (cat) {'x ' * 50}"):
            self.patch(ProcFS, "_read", lambda *_, text=text: text)
            self.assertRaises(OSError, self.table.started, 7)

    def test_started(self) -> None:
        """A process is started after its parent, in the clock ticks of the boot."""
        ticks = os.sysconf("SC_CLK_TCK")
        now = time.clock_gettime(time.CLOCK_BOOTTIME) * ticks
        started = self.table.started(self.pid)
        self.assertLessEqual(self.table.started(os.getppid()), started)
        self.assertLessEqual(started, now)

    def test_pidfd(self) -> None:
        """The process of a pidfd is alive while it runs; the pidfd can be closed."""
        pidfd = self.table.open_pidfd(self.pid)
        self.assertTrue(self.table.is_alive(pidfd))
        self.table.close_pidfd(pidfd)
        self.assertRaises(OSError, os.fstat, pidfd)

    def test_cgroup_key(self) -> None:
        """The key is the id of the cgroup where v2 is the only hierarchy.

        Otherwise, and on older kernels, it is that of all cgroups.
        """
        pidfd = self.table.open_pidfd(self.pid)
        self.addCleanup(os.close, pidfd)
        tables = [ProcFS(has_one_hierarchy=one) for one in (True, False)]
        by_id, by_text = (table.cgroup_key(self.pid, pidfd) for table in tables)
        cgroup_id = cgroup_id_of(pidfd)
        self.assertEqual(by_id, by_text if cgroup_id is None else cgroup_id)
        self.patch(pidfds, "_GET_INFO", 0xC040FF7F)
        self.assertIsNone(cgroup_id_of(pidfd))
        self.assertEqual(tables[0].cgroup_key(self.pid, pidfd), by_text)
        text = "0::/other\n"
        self.patch(ProcFS, "_read_bytes", lambda *_: text.encode())
        self.assertNotEqual(tables[1].cgroup_key(self.pid, pidfd), by_text)

    def test_zombie(self) -> None:
        """A process that has ended has no namespace, before its parent knows it."""
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
            pidfd = self.table.open_pidfd(process.pid)
            self.addCleanup(os.close, pidfd)
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            self.assertFalse(self.table.is_alive(pidfd))
            self.assertRaises(OSError, self.table.namespace_among, pidfd, ())

    def test_no_leaks(self) -> None:
        """No file descriptor is left open."""
        pidfd = self.table.open_pidfd(self.pid)
        self.addCleanup(os.close, pidfd)
        descriptors = Descriptors()
        self.table.cgroup_key(self.pid, pidfd)
        with contextlib.suppress(OSError):
            self.table.namespace_among(pidfd, ())
        self.assertEqual(descriptors.opened(), [])

    def test_is_init(self) -> None:
        """An init is recognized by pid 1 in its namespace, not by its name."""
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
        self.assertFalse(self.table._is_init(str(NO_PID), own))
