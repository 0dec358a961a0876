"""What an operator does to ``twistd devlxd``, and the first things that go wrong."""

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
    TWISTD,
    LXCContainer,
    ServerProcess,
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

DOCUMENT = "config: {user.foo: bar}\n"


def nobody(*capabilities: str) -> list[str]:
    """Return what starts a program as the docs say: nobody, with some capabilities.

    It may read Python and devlxd wherever they are.
    """
    given = ",".join(f"+{name}" for name in ("dac_read_search", *capabilities))
    ids = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    return ["setpriv", *ids, f"--inh-caps={given}", f"--ambient-caps={given}"]


def ask(path: Path) -> bytes:
    """Ask for ``user.foo``; return the response, empty where nobody listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(str(path))
        except OSError:
            return b""
        connection.sendall(b"GET /1.0/config/user.foo HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(4096), b""))


def give_up(*command: str) -> tuple[int, str]:
    """Run what ends at once; return its exit status, and what it printed."""
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
    """A devlxd that takes every caller for one container."""

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

    def assert_in_the_way(self, pid: int) -> None:
        """Check that a second one with the same socket, or state, is told of it."""
        for run, state, what in (
            ("run", "other", f"--listen: {self.home}/run"),
            ("other", "s", f"--state: {self.home}/s"),
        ):
            status, printed = give_up(*self.command(run=run, state=state))
            self.assertEqual(status, 1)
            self.assertIn(f"{what}: another devlxd (pid {pid}) serves ", printed)
            self.assertEqual(printed.count("\n"), 1, printed)
        self.assertIn(b"\r\n\r\nbar", ask(self.socket))

    def test_second(self) -> None:
        """A second one is told which process the first one is, and goes."""
        served = ServerProcess(*self.command())
        self.addCleanup(served.stop)
        self.assert_in_the_way(served.pid)

    def test_daemon(self) -> None:
        """So it is with a daemon; one that was killed is in nobody's way."""
        pidfile = self.home / "pid"
        options = (f"--pidfile={pidfile}", f"--logfile={self.home}/log")
        for _ in range(2):
            status, printed = give_up(*self.command(*options))
            self.assertEqual(status, 0, printed)
            pid = int(pidfile.read_text())
            with os.fdopen(os.pidfd_open(pid)) as pidfd:
                try:
                    self.assert_in_the_way(pid)
                finally:
                    os.kill(pid, signal.SIGKILL)
                    select.select([pidfd], [], [], TIMEOUT)
            # twistd would wait for somebody to take note of its end.
            pidfile.unlink()

    def test_signals(self) -> None:
        """``SIGHUP`` reads all anew, ``SIGUSR1`` and ``SIGUSR2`` do nothing."""
        served = ServerProcess(*self.command())
        self.addCleanup(served.stop)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            served.send_signal(number)
        served.wait_for("reading all documents")
        self.assertIn(b"\r\n\r\nbar", ask(self.socket))
        served.stop()
        self.assertFalse(self.socket.exists())

    def test_demo_hangs_up(self) -> None:
        """The demo leaves nothing behind when its terminal goes away."""
        served = ServerProcess(TWISTD, "-n", "--pidfile=", "devlxd", "--demo")
        self.addCleanup(served.stop)
        line = served.wait_for("$ curl --unix-socket")
        directory = Path(line.split()[3]).parent
        self.assertTrue(directory.exists())
        served.send_signal(signal.SIGHUP)
        served.wait_for("Server Shut Down")
        served.stop()
        self.assertFalse(directory.exists())

    def test_full_pipe(self) -> None:
        """Guests are served while nobody reads the log; what is missing is told."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        filled = 0
        os.set_blocking(writing, False)
        while select.select([], [writing], [], 0)[1]:
            filled += os.write(writing, b"\n" * select.PIPE_BUF)
        # As the shell gives it.
        os.set_blocking(writing, True)
        server = subprocess.Popen(self.command(), stdout=writing, stderr=writing)
        os.close(writing)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        wait_until(lambda: b"\r\n\r\nbar" in ask(self.socket), "an answer")
        server.send_signal(signal.SIGHUP)
        self.assertIn(b"\r\n\r\nbar", ask(self.socket))
        read = b""
        while len(read) < filled:
            read += os.read(reading, filled - len(read))
        self.assertEqual(read.strip(), b"")
        server.send_signal(signal.SIGHUP)
        read = b""
        while b"reading all documents" not in read:
            self.assertTrue(select.select([reading], [], [], TIMEOUT)[0], read)
            read += os.read(reading, 10**6)
        self.assertRegex(read, rb"^\d+ log lines were dropped\n")


class PrivilegeTests(ProcessTestCase):
    """A devlxd that is not root's, and a real container."""

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
        """``nobody`` with CAP_SYS_PTRACE serves guests, of any user namespace."""
        twistd = [TWISTD, "-n", "--pidfile="]
        served = ServerProcess(*nobody("sys_ptrace"), *twistd, *self.devlxd)
        self.addCleanup(served.stop)
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
                self.fail(f"{error} {served.log}")
            finally:
                container.stop()

    def test_no_capability(self) -> None:
        """Without it, it does not start, and says in one line what is missing."""
        twistd = [TWISTD, "-n", "--pidfile="]
        status, printed = give_up(*nobody(), *twistd, *self.devlxd)
        self.assertEqual(status, 1)
        self.assertIn("CAP_SYS_PTRACE is missing", printed)
        self.assertEqual(printed.count("\n"), 1, printed)

    def test_given_away(self) -> None:
        """Nor does it if twistd is told to give it away."""
        twistd = [TWISTD, "-n", "--pidfile=", "--uid=nobody"]
        status, printed = give_up(*twistd, *self.devlxd)
        self.assertEqual(status, 1)
        self.assertIn("CAP_SYS_PTRACE is missing", printed)
