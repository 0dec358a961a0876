"""Tests of the guest state: over restarts of devlxd, and of the container."""

from __future__ import annotations

import json
import shutil
import signal
import sys

from tests.integration import observing_agent
from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import GuestError, ProcessTestCase
from tests.integration.servers import TWISTD, ServerProcess

#: The command that sends a request for ``/1.0``; options of curl follow.
CURL = ["curl", "-sS", "--unix-socket", "/dev/lxd/sock", "http://lxd/1.0"]


class ReadyTests(ProcessTestCase):
    """An unprivileged container whose guest becomes ready.

    The directory of the socket is below that of the state, as it is by default.
    """

    skip = missing_requirement()

    def setUp(self) -> None:
        self.home = make_home()
        self.addCleanup(shutil.rmtree, self.home)
        (self.home / "containers").mkdir()
        (self.home / "state").mkdir(0o711)
        self.sockets = self.home / "state" / "lxd6"
        name = unique_name("ready")
        (self.home / "containers" / f"{name}.yaml").write_text("config: {}\n")
        binds = {self.sockets: "dev/lxd"}
        self.guest = LXCContainer(name, self.home, 100_000, binds)

    def serve(self) -> ServerProcess:
        """Start devlxd."""
        devlxd = ServerProcess(
            *(TWISTD, "-n", "--pidfile=", "devlxd"),
            f"--containers={self.home}/containers",
            f"--listen=lxd6={self.sockets}",
            f"--state={self.home}/state",
        )
        self.addCleanup(devlxd.stop)
        return devlxd

    def start_agent(self) -> ServerProcess:
        """Start an agent that embeds devlxd."""
        agent = ServerProcess(
            *(sys.executable, observing_agent.__file__, "lxd6"),
            f"{self.home}/containers",
            str(self.sockets),
            f"{self.home}/states",
        )
        self.addCleanup(agent.stop)
        return agent

    def start(self) -> ServerProcess:
        """Start devlxd and the container; make the guest ready."""
        devlxd = self.serve()
        self.start_guest()
        self.set_state("Ready")
        devlxd.wait_for(self.line("Ready"))
        return devlxd

    def start_guest(self) -> None:
        """Start the container, and check that the guest is not ready."""
        self.guest.start()
        self.addCleanup(self.guest.stop)
        self.assertEqual(self.state(), "Started")

    def line(self, state: str) -> str:
        """Return the log line of a changed guest state."""
        return f"the guest of {self.guest.name} is {state}"

    def set_state(self, state: str) -> None:
        """Set the guest state with curl, in the container."""
        body = json.dumps({"state": state})
        self.assertEqual(self.guest.run(*CURL, "-X", "PATCH", "-d", body), "")

    def state(self) -> str:
        """Return the guest state, as the guest reads it."""
        state: str = json.loads(self.guest.run(*CURL))["state"]
        return state

    def test_restarted_devlxd(self) -> None:
        """A guest stays ready when devlxd is killed, or stopped, and started again."""
        devlxd = self.start()
        for number in (signal.SIGKILL, signal.SIGTERM):
            devlxd.stop(number)
            devlxd = self.serve()
            # devlxd looks up the run without a question of the guest.
            devlxd.wait_for(self.line("Ready"))
            self.assertEqual(self.state(), "Ready")
        devlxd.stop()
        devlxd = self.serve()
        self.assertEqual(self.state(), "Ready")
        self.set_state("Started")
        devlxd.stop(signal.SIGKILL)
        self.serve()
        self.assertEqual(self.state(), "Started")

    def test_stopped_container(self) -> None:
        """A guest is not ready when its container stopped while devlxd did not run."""
        self.start().stop(signal.SIGKILL)
        self.guest.shut_down()
        devlxd = self.serve()
        devlxd.wait_for(f"the guest of {self.guest.name} is no longer ready: ")
        self.guest.boot()
        self.assertEqual(self.state(), "Started")
        # Another run, which is ready, and a later one while devlxd does not run.
        self.set_state("Ready")
        devlxd.stop()
        self.guest.shut_down()
        self.guest.boot()
        self.serve()
        self.assertEqual(self.state(), "Started")

    def test_restarted_container(self) -> None:
        """A guest is not ready after its init has ended, and in the next run."""
        devlxd = self.start()
        self.guest.shut_down()
        devlxd.wait_for(self.line("Started"))
        self.guest.boot()
        self.assertEqual(self.state(), "Started")

    def test_closed_state(self) -> None:
        """devlxd names a directory that keeps the container from the socket."""
        (self.home / "state").chmod(0o700)
        devlxd = self.serve()
        self.assertRaises(GuestError, self.guest.start)
        (line,) = [line for line in devlxd.log if "cannot mount" in line]
        self.assertIn(f"may not enter {self.home}/state (chmod o+x)", line)
        (self.home / "state").chmod(0o711)
        shutil.rmtree(self.home / self.guest.name)
        self.start_guest()

    def test_agent(self) -> None:
        """An agent is notified of all changes, and after its own restart."""
        agent = self.start_agent()
        self.start_guest()
        self.set_state("Ready")
        agent.wait_for(self.notification("Ready"))
        agent.stop(signal.SIGKILL)
        agent = self.start_agent()
        agent.wait_for(self.notification("Ready"))
        self.assertEqual(self.state(), "Ready")
        self.guest.shut_down()
        agent.wait_for(self.notification("Started"))
        self.guest.boot()
        self.assertEqual(self.state(), "Started")

    def notification(self, state: str) -> str:
        """Return what the agent prints when it is notified of a guest state."""
        return json.dumps(["state_changed", self.guest.name, state])
