"""Tests of the command ``devlxd`` beside a real ``twistd devlxd``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import (
    TIMEOUT,
    Output,
    ProcessTestCase,
    start,
    wait_until,
)
from tests.integration.servers import DevLXD

#: The ``devlxd`` that belongs to this Python.
DEVLXD = str(Path(sys.executable).with_name("devlxd"))

#: A value that no command may print.
SECRET = "hunter2-2f81c6"


class CommandTestCase(ProcessTestCase):
    """A base class of tests of commands that ask a devlxd."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="devlxd-commands-")
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)
        # Guests must be able to reach the directory of their socket.
        self.directory.chmod(0o711)
        self.containers = self.directory / "containers"
        self.containers.mkdir(mode=0o700)
        self.socket = self.directory / "admin" / "sock"
        self.write("c1", f"config:\n  user.a: {SECRET}\n")
        self.printed = ""

    def write(self, name: str, text: str) -> Path:
        """Write the document of a container, as an editor replaces it."""
        path = self.containers / f"{name}.yaml"
        new = path.with_suffix(".new")
        new.write_text(text)
        return new.replace(path)

    def serve(self) -> DevLXD:
        """Start devlxd."""
        devlxd = DevLXD(
            f"--containers={self.containers}",
            f"--listen={self.directory / 'guests'}",
            f"--admin={self.socket}",
        )
        self.addCleanup(devlxd.stop)
        return devlxd

    def run_command(self, *arguments: str) -> int:
        """Run ``devlxd``; return its exit status, and keep its output."""
        finished = subprocess.run(
            [DEVLXD, *arguments],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        self.printed = finished.stdout
        self.assertNotIn(SECRET, self.printed)
        return finished.returncode

    def ask(self, *arguments: str) -> int:
        """Run a command that asks the devlxd of this test."""
        return self.run_command(*arguments, f"--socket={self.socket}")

    def answer(self, *arguments: str) -> dict[str, Any]:
        """Return what a command prints as JSON."""
        self.ask(*arguments, "--json")
        answer: dict[str, Any] = json.loads(self.printed)
        return answer


class CommandTests(CommandTestCase):
    """Each command, as an operator runs it."""

    def test_questions(self) -> None:
        """All commands agree on what devlxd knows, and on what is broken."""
        self.assertEqual(self.ask("status"), 5)
        self.assertIn("there is no such socket", self.printed)
        devlxd = self.serve()
        wait_until(
            lambda: (
                self.answer("status").get("containers") == {"known": 1, "broken": 0}
            ),
            "one container",
        )
        self.assertEqual(self.ask("status"), 0)
        self.assertIn(f"pid {devlxd.pid}", self.printed)
        self.assertIn(str(self.directory / "guests"), self.printed)
        self.assertEqual(self.ask("containers"), 0)
        self.assertIn("c1.yaml", self.printed)
        self.assertEqual(self.ask("containers", "c2"), 3)
        self.assertEqual(self.ask("why", str(os.getpid())), 1)
        self.assertIn("is refused: ", self.printed)

        path = self.write("c2", f"config:\n  user.a: [{SECRET}]\n")
        wait_until(
            lambda: self.answer("status")["containers"]["broken"], "a broken document"
        )
        fault = f"{path}:2: config: user.a is not text"
        self.assertEqual(self.ask("containers", "c2"), 0)
        self.assertIn(f"{path} (broken)", self.printed)
        (told,) = self.answer("containers", "c2")["faults"]
        self.assertTrue(fault.endswith(told["text"].partition(";")[0]))
        self.assertEqual(self.run_command("check", str(self.containers)), 1)
        self.assertTrue(self.printed.startswith(fault), self.printed)

        self.write("c2", "config: {}\n")
        wait_until(
            lambda: self.answer("containers", "c2")["faults"] == [],
            "a repaired document",
        )
        self.assertEqual(self.run_command("check", str(self.containers)), 0)
        devlxd.stop()
        self.assertEqual(self.ask("containers"), 5)

    def test_log(self) -> None:
        """Events are printed as they happen, also after devlxd was restarted."""
        devlxd = self.serve()
        output = Output("devlxd log")
        follower = start(DEVLXD, "log", f"--socket={self.socket}", output=output)
        self.addCleanup(follower.kill)
        count = 0
        for _ in range(2):
            # The follower may not be connected yet.
            def is_printed(changes: int = count) -> bool:
                self.write("c1", f"config:\n  user.b{os.times().elapsed}: {SECRET}\n")
                return output.text().count(" changed c1 config=user.b") > changes

            wait_until(is_printed, "an event")
            count = output.text().count(" changed c1 ")
            devlxd.stop()
            devlxd = self.serve()
        self.assertIn("waiting for it", output.text())
        wait_until(lambda: "connected again" in output.text(), "connected again")
        self.assertNotIn(SECRET, output.text())
        follower.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(TIMEOUT), 130)

    def test_hung(self) -> None:
        """A devlxd that does not answer is told apart from one that is not there."""
        devlxd = self.serve()
        wait_until(lambda: self.ask("status") == 0, "a healthy devlxd")
        devlxd.send_signal(signal.SIGSTOP)
        self.assertEqual(self.ask("status"), 5)
        self.assertIn("no answer within 10 s", self.printed)


class GuestTests(CommandTestCase):
    """What the commands tell of a guest in a real container."""

    skip = missing_requirement({"curl": "curl"})

    def test_guest(self) -> None:
        """A guest is shown with its connections, and why it is served or refused."""
        self.serve()
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        binds = {self.directory / "guests": "dev/lxd"}
        guest = LXCContainer(unique_name("guest"), home, 100_000, binds)
        guest.start()
        self.addCleanup(guest.stop)
        init = guest.init_pid()
        self.assertEqual(self.ask("why", str(init)), 1)
        self.assertIn(f"container {guest.name} is not in the store", self.printed)

        self.write(guest.name, f"config:\n  user.a: {SECRET}\n")
        wait_until(lambda: self.ask("why", str(init)) == 0, "the document is read")
        self.assertIn(f"process {init} is in container {guest.name}\n", self.printed)

        output = Output("devlxd log")
        options = ["--asked", f"--socket={self.socket}"]
        follower = start(DEVLXD, "log", *options, output=output)
        self.addCleanup(follower.kill)
        attach = ["lxc-attach", "-P", str(home), "-n", guest.name, "--"]
        curl = ["curl", "-sN", "--unix-socket", "/dev/lxd/sock"]
        url = "http://lxd/1.0/events"

        def is_followed() -> bool:
            guest.attach(*curl, "http://lxd/1.0/config/user.a")
            return (
                f" asked {guest.name} code=200 path=/1.0/config/user.a" in output.text()
            )

        wait_until(is_followed, "the question is an event")
        subscriber = start(*attach, *curl, url)
        self.addCleanup(subscriber.kill)
        wait_until(
            lambda: self.answer("containers", guest.name)["subscribers"] == 1,
            "one subscriber",
        )
        self.assertEqual(self.answer("containers", guest.name)["run"], {"pid": init})
        self.assertEqual(self.ask("containers", guest.name), 0)
        self.assertIn(f"init           {init}\n", self.printed)
        self.assertNotIn(SECRET, output.text())
