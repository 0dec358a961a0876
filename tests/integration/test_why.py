"""Tests of how processes of real containers would be identified."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from devlxd.containers.memory_store import MemoryStore
from devlxd.guestapi.dialects.lxd import DIALECT
from devlxd.guestapi.gate_explanation import explain_gates
from devlxd.model import Container, Explanation, Result
from devlxd.peers.identifier import CallerIdentifier
from devlxd.peers.processes import ProcFS
from devlxd.peers.runtimes import known_runtimes
from devlxd.testing import MemoryDevLXDReactor
from tests.integration.lxc import (
    LXCContainer,
    cgroup_hierarchies,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import (
    TIMEOUT,
    GuestError,
    ProcessTestCase,
    run,
    start,
    wait_until,
)
from tests.integration.servers import TWISTD, DevLXD

#: The command that belongs to this Python.
DEVLXD = str(Path(TWISTD).with_name("devlxd"))

#: Creates a cgroup with the victim's name below that of the attacker, and runs a
#: command in it.
FAKE_CGROUP = """
set -e
mkdir -p /tmp/cgroup
mount -t cgroup2 none /tmp/cgroup
mkdir -p "/tmp/cgroup/$1"
echo $$ >"/tmp/cgroup/$1/cgroup.procs"
shift
exec "$@"
"""

#: Runs a command in a cgroup, as a user of the host in a pid namespace of its own.
AS_USER = """
echo $$ >"$1/cgroup.procs"
shift
exec setpriv --reuid=100000 --regid=100000 --clear-groups \
    unshare -Urpf --kill-child "$@"
"""


class WhyTests(ProcessTestCase):
    """`explain` and `explain_gates`, with an attacker and its victim."""

    skip = missing_requirement()

    def setUp(self) -> None:
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        self.attacker = LXCContainer(unique_name("attacker"), home, 100_000)
        self.attacker.start()
        self.addCleanup(self.attacker.stop)
        self.victim = unique_name("victim")
        self.store = MemoryStore([Container(self.attacker.name)])
        self.identifier = CallerIdentifier(
            self.store, ProcFS(), known_runtimes(), MemoryDevLXDReactor()
        )
        self.addCleanup(self.identifier.stopService)

    def explain(self, pid: int) -> Explanation:
        """Explain how a process would be identified, and what the gate would say."""
        return explain_gates(self.identifier.explain(pid), self.store, [DIALECT])

    def sleeper(self, *prefix: str) -> int:
        """Start a process in the background; return its pid on the host.

        :param prefix: the command that runs it as its last arguments.
        """
        marker = unique_name("sleeper")
        program = "import signal; signal.pause()"
        process = start(*prefix, "python3", "-c", program, marker)
        self.addCleanup(process.wait, TIMEOUT)
        self.addCleanup(process.kill)

        def find() -> int | None:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = path.read_text().split("\0")
                except OSError:
                    continue
                # Its parents have the marker in longer command lines.
                if words[1:] == ["-c", program, marker, ""]:
                    return int(path.parent.name)
            return None

        pid = wait_until(find, "the process runs")
        self.addCleanup(kill, pid)
        return pid

    def inside(self, *prefix: str) -> int:
        """Start a process in the attacker's container; return its pid on the host."""
        name = self.attacker.name
        attach = ["lxc-attach", "-P", str(self.attacker.home), "-n", name, "--"]
        return self.sleeper(*attach, *prefix)

    def assert_failed(self, check: str, reason: str, pid: int) -> None:
        """Check that only the last check of a process fails."""
        explanation = self.explain(pid)
        *others, last = explanation.steps
        self.assertEqual((last.check, last.result), (check, Result.FAILED))
        self.assertIn(reason, last.detail)
        self.assertEqual(explanation.refused, last.detail)
        self.assertNotIn(Result.FAILED, [step.result for step in others])

    def assert_served(self, pid: int) -> Sequence[str]:
        """Check that a process is served as root of the attacker's container.

        :return: the details of the checks.
        """
        explanation = self.explain(pid)
        self.assertEqual(explanation.container, self.attacker.name)
        self.assertIsNone(explanation.refused)
        self.assertEqual(explanation.uid, 0)
        for step in explanation.steps:
            self.assertIs(step.result, Result.PASSED, step)
        return [step.detail for step in explanation.steps]

    def test_guest(self) -> None:
        """All checks of a guest pass; its init, its monitor and its uid are named."""
        init = self.attacker.init_pid()
        details = "\n".join(self.assert_served(init))
        monitor = ProcFS().status(init).parent
        for text in (
            f"pid {init}, the init of that namespace, is in the cgroup of ",
            f"pid {monitor}, the parent of the init, is the monitor of ",
            "uid 100000 is 0 inside",
        ):
            self.assertIn(text, details)

    def test_host(self) -> None:
        """A process of the host, and one that has ended, are in no container."""
        self.assert_failed("cgroup", "in the cgroup of no container", os.getpid())
        for pid in (2**22 + 1, -1, 2**40):
            self.assert_failed("process", "no process", pid)

    def test_attacks_inside(self) -> None:
        """Whatever the attacker calls its processes and cgroups, they are its own."""
        title = f"[lxc monitor] {self.attacker.home} {self.victim}"
        name = f"lxc.payload.{self.victim}"
        for prefix in (
            ["bash", "-c", 'title=$1; shift; exec -a "$title" "$@"', "-", title],
            ["unshare", "-m", "bash", "-c", FAKE_CGROUP, "-", name],
            ["unshare", "-Cpf", "--kill-child"],
        ):
            details = self.assert_served(self.inside(*prefix))
            if FAKE_CGROUP in prefix:
                self.assertIn(f"cgroup /lxc.payload.{self.attacker.name}", details[0])
                self.assertIn(f"/{name}", details[0])

    def test_attack_from_the_host(self) -> None:
        """A user of the host with a cgroup of the victim's name is in no container."""
        outer = cgroup_hierarchies()[-1] / unique_name("user.slice")
        inner = outer / f"lxc.payload.{self.victim}"
        for path in (outer, inner):
            path.mkdir()
            self.addCleanup(wait_until, partial(remove, path), "no process")
        pid = self.sleeper("bash", "-c", AS_USER, "-", str(inner))
        self.assert_failed("cgroup", "in the cgroup of no container", pid)

    def test_users(self) -> None:
        """The gate names the uid that is not root, and where it could be allowed."""
        pid = self.inside("setpriv", "--reuid=1000", "--clear-groups")
        self.assert_failed("gate of lxd", "uid 1000 inside is neither root nor", pid)

    def test_command(self) -> None:
        """``devlxd why`` asks a running devlxd, which says the same."""
        home = self.attacker.home
        (home / "documents").mkdir()
        (home / "documents" / f"{self.attacker.name}.yaml").write_text("config: {}")
        devlxd = DevLXD(
            f"--containers={home}/documents",
            f"--listen={home}/run",
            f"--admin=unix:{home}/admin",
        )
        self.addCleanup(devlxd.stop)
        command = [DEVLXD, "why", f"--socket={home}/admin"]
        init = str(self.attacker.init_pid())
        printed = run(*command, init)
        self.assertIn("ok       gate of lxd", printed)
        self.assertIn(f"process {init} is in container {self.attacker.name}", printed)
        refused = self.assertRaises(GuestError, run, *command, str(os.getpid()))
        self.assertIn("exited with 1:", str(refused))
        self.assertIn("FAILED   cgroup", str(refused))

    def test_no_document(self) -> None:
        """A container without a document is named."""
        self.store.remove(self.attacker.name)
        reason = f"container {self.attacker.name} is not in the store"
        self.assert_failed("document", reason, self.attacker.init_pid())


def kill(pid: int) -> None:
    """Kill a process, unless it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def remove(path: Path) -> bool:
    """Remove a cgroup; return whether it was removed."""
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.exists()
