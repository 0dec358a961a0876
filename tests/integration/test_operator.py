"""Tests of starting ``twistd devlxd``, of signals, and of missing privileges."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import (
    TIMEOUT,
    GuestError,
    ProcessTestCase,
    wait_until,
)
from tests.integration.servers import TWISTD, ServerProcess

#: The log lines after SIGHUP, for a missing CAP_SYS_PTRACE, and for dropped log
#: lines.
REREAD = "reading all documents"
NO_CAPABILITY = "CAP_SYS_PTRACE is missing"
DROPPED = rb"^\d+ log lines were dropped\n"

DOCUMENT = "config: {user.foo: bar}\n"


def as_nobody(*capabilities: str) -> list[str]:
    """Return the command that runs a program as ``nobody`` with some capabilities.

    It is the documented command, with CAP_DAC_READ_SEARCH in addition: Python and
    devlxd may be in directories that the user ``nobody`` cannot read.
    """
    given = ",".join(f"+{name}" for name in ("dac_read_search", *capabilities))
    ids = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    return ["setpriv", *ids, f"--inh-caps={given}", f"--ambient-caps={given}"]


def get_foo(path: Path) -> bytes:
    """Request ``user.foo``; return the response, or ``b""`` if connecting fails."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(str(path))
        except OSError:
            return b""
        connection.sendall(b"GET /1.0/config/user.foo HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(4096), b""))


def run_to_end(*command: str) -> tuple[int, str]:
    """Run a command; return its exit status and its output."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return done.returncode, done.stdout


class OperatorTests(ProcessTestCase):
    """A devlxd that identifies every caller as one container (``--assume``)."""

    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home)
        (self.home / "containers").mkdir()
        (self.home / "containers" / "c1.yaml").write_text(DOCUMENT)
        self.socket = self.home / "run" / "sock"

    def command(self, *options: str, run: str = "run", state: str = "s") -> list[str]:
        """Return the command that serves the container."""
        return [
            *(TWISTD, *(options or ("-n", "--pidfile="))),
            *("devlxd", f"--containers={self.home}/containers", "--assume=c1"),
            *(f"--listen={self.home}/{run}", f"--state={self.home}/{state}"),
        ]

    def assert_excludes_others(self, pid: int) -> None:
        """Check that no second devlxd starts with the same socket or state."""
        for run, state, what in (
            ("run", "other", f"--listen: {self.home}/run"),
            ("other", "s", f"--state: {self.home}/s"),
        ):
            status, printed = run_to_end(*self.command(run=run, state=state))
            self.assertEqual(status, 1)
            self.assertIn(f"{what}: another devlxd (pid {pid}) serves ", printed)
            self.assertEqual(printed.count("\n"), 1, printed)
        self.assertIn(b"\r\n\r\nbar", get_foo(self.socket))

    def test_second(self) -> None:
        """A second devlxd prints the pid of the first one and exits."""
        server = ServerProcess(*self.command())
        self.addCleanup(server.stop)
        self.assert_excludes_others(server.pid)

    def test_daemon(self) -> None:
        """A daemon excludes a second devlxd; a killed one does not prevent a start."""
        pidfile = self.home / "pid"
        options = (f"--pidfile={pidfile}", f"--logfile={self.home}/log")
        for _ in range(2):
            status, printed = run_to_end(*self.command(*options))
            self.assertEqual(status, 0, printed)
            pid = int(pidfile.read_text())
            with os.fdopen(os.pidfd_open(pid)) as pidfd:
                try:
                    self.assert_excludes_others(pid)
                finally:
                    os.kill(pid, signal.SIGKILL)
                    select.select([pidfd], [], [], TIMEOUT)
            # twistd refuses to start while the zombie has the pid in the file.
            pidfile.unlink()

    def test_signals(self) -> None:
        """``SIGHUP`` rereads all documents, ``SIGUSR1`` and ``SIGUSR2`` do nothing."""
        server = ServerProcess(*self.command())
        self.addCleanup(server.stop)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            server.send_signal(number)
        server.wait_for(REREAD)
        self.assertIn(b"\r\n\r\nbar", get_foo(self.socket))
        server.stop()
        self.assertFalse(self.socket.exists())

    def test_demo_terminal_closed(self) -> None:
        """The demo removes its files when its terminal is closed."""
        server = ServerProcess(TWISTD, "-n", "--pidfile=", "devlxd", "--demo")
        self.addCleanup(server.stop)
        line = server.wait_for("$ curl --unix-socket")
        directory = Path(line.split()[3]).parent
        self.assertTrue(directory.exists())
        server.send_signal(signal.SIGHUP)
        server.wait_for("Server Shut Down")
        server.stop()
        self.assertFalse(directory.exists())

    def test_full_pipe(self) -> None:
        """A full pipe for the log does not block devlxd; dropped lines are counted."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        filled = 0
        os.set_blocking(writing, False)
        while select.select([], [writing], [], 0)[1]:
            filled += os.write(writing, b"\n" * select.PIPE_BUF)
        # Blocking, as shells pass it.
        os.set_blocking(writing, True)
        server = subprocess.Popen(self.command(), stdout=writing, stderr=writing)
        os.close(writing)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        wait_until(lambda: b"\r\n\r\nbar" in get_foo(self.socket), "a response")
        server.send_signal(signal.SIGHUP)
        self.assertIn(b"\r\n\r\nbar", get_foo(self.socket))
        read = b""
        while len(read) < filled:
            read += os.read(reading, filled - len(read))
        self.assertEqual(read.strip(), b"")
        server.send_signal(signal.SIGHUP)
        read = b""
        while REREAD.encode() not in read:
            self.assertTrue(select.select([reading], [], [], TIMEOUT)[0], read)
            read += os.read(reading, 10**6)
        self.assertRegex(read, DROPPED)


class PrivilegeTests(ProcessTestCase):
    """A devlxd that does not run as root, and a real container."""

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        self.name = unique_name("nobody")
        user = pwd.getpwnam("nobody")
        for name in ("containers", "run", "state"):
            (self.home / name).mkdir()
            os.chown(self.home / name, user.pw_uid, user.pw_gid)
        document = self.home / "containers" / f"{self.name}.yaml"
        document.write_text(DOCUMENT)
        self.devlxd = [
            *("devlxd", f"--containers={self.home}/containers"),
            *(f"--listen={self.home}/run", f"--state={self.home}/state"),
        ]

    def test_capability(self) -> None:
        """With CAP_SYS_PTRACE, ``nobody`` serves guests of every user namespace."""
        twistd = [TWISTD, "-n", "--pidfile="]
        server = ServerProcess(*as_nobody("sys_ptrace"), *twistd, *self.devlxd)
        self.addCleanup(server.stop)
        for host_id in (0, 100_000):
            container = LXCContainer(
                self.name, self.home, host_id, {self.home / "run": "dev/lxd"}
            )
            container.start()
            try:
                url = "http://lxd/1.0/config/user.foo"
                curl = ["curl", "-s", "--unix-socket", "/dev/lxd/sock", url]
                self.assertEqual(container.run(*curl), "bar")
            except GuestError as error:
                self.fail(f"{error} {server.log}")
            finally:
                container.stop()

    def test_no_capability(self) -> None:
        """Without CAP_SYS_PTRACE devlxd does not start, and prints why in one line."""
        twistd = [TWISTD, "-n", "--pidfile="]
        status, printed = run_to_end(*as_nobody(), *twistd, *self.devlxd)
        self.assertEqual(status, 1)
        self.assertIn(NO_CAPABILITY, printed)
        self.assertEqual(printed.count("\n"), 1, printed)

    def test_dropped_capability(self) -> None:
        """With ``twistd --uid``, which drops the capability, devlxd does not start."""
        twistd = [TWISTD, "-n", "--pidfile=", "--uid=nobody"]
        status, printed = run_to_end(*twistd, *self.devlxd)
        self.assertEqual(status, 1)
        self.assertIn(NO_CAPABILITY, printed)
