"""Tests of the file of ``--config`` and of the log, with a real twistd and journald."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

from devlxd.logs.choice import LogChoice
from tests.integration.cloud_guest import CloudGuest, missing_requirement
from tests.integration.lxc import make_home, unique_name
from tests.integration.processes import ProcessTestCase, run, wait_until
from tests.integration.servers import TWISTD, DevLXD
from tests.logs.events import failure, refusal

#: A value that must not appear in any line.
SECRET = "hunter2"


class ConfigurationTests(ProcessTestCase):
    """A devlxd whose options are in a file."""

    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home)
        (self.home / "documents").mkdir()
        self.document = self.home / "documents/c1.yaml"
        self.document.write_text(f"config: {{user.foo: {SECRET}}}")
        self.file = self.home / "devlxd.yaml"

    def write(self, **options: object) -> None:
        """Write the file; JSON is YAML."""
        usual = {
            "containers": str(self.home / "documents"),
            "listen": [str(self.home / "run")],
            "state": str(self.home / "state"),
            "assume": "c1",
            "log-format": "json",
        }
        self.file.write_text(json.dumps({**usual, **options}))

    def test_reload(self) -> None:
        """``SIGHUP`` applies limits and level; each line of the log is an object."""
        self.write(limits={"downloads": "7"})
        devlxd = DevLXD(f"--config={self.file}")
        self.addCleanup(devlxd.stop)
        devlxd.wait_for('"containers-loaded"')
        self.document.write_text(f"config: {{user.foo: {SECRET}2, user.bar: x}}")
        changed = json.loads(devlxd.wait_for('"container-changed"'))
        self.assertEqual(changed["container"], "c1")
        self.assertEqual(changed["keys"], "user.foo, user.bar")
        self.file.write_text("nonsense: 1")
        os.kill(devlxd.pid, signal.SIGHUP)
        fault = json.loads(devlxd.wait_for('"config-fault"'))
        self.assertEqual(
            fault["problem"], f"{self.file}:1: there is no option nonsense"
        )
        self.write(limits={"downloads": "8"}, location="x")
        os.kill(devlxd.pid, signal.SIGHUP)
        limits = json.loads(devlxd.wait_for('"limits-changed"'))
        self.assertEqual(limits["changes"], "downloads=8")
        restart = json.loads(devlxd.wait_for('"restart-needed"'))
        self.assertEqual(restart["options"], "location")
        text = "".join(devlxd.log)
        self.assertNotIn(SECRET, text)
        (started,) = [line for line in devlxd.log if '"started"' in line]
        self.assertIn("ok: ", json.loads(started)["containers"])

    def test_mistake(self) -> None:
        """A mistake in the file ends the process with one line."""
        self.write(stat="/x")
        output = run(
            "sh",
            "-c",
            f"! {TWISTD} -n --pidfile= devlxd --config={self.file} 2>&1",
        )
        self.assertEqual(
            output,
            f"devlxd: --config: {self.file}:1: there is no option stat "
            "(did you mean 'state'?)\n",
        )


class JournalTests(ProcessTestCase):
    """The log in a real journal of systemd, that of a guest."""

    skip = missing_requirement()

    def test_fields(self) -> None:
        """``journalctl`` selects events by their container, name and priority."""
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        guest = CloudGuest(unique_name("journal"), home)
        guest.start()
        self.addCleanup(guest.stop)
        socket = f"/proc/{guest.init_pid()}/root/run/systemd/journal/socket"
        wait_until(lambda: os.path.exists(socket), "journald listens")
        choice = LogChoice()
        choice.make("journal", None)
        observer = choice.observer(None, socket)
        observer(refusal(container="c1", cgroup="/x", reason="a\nPRIORITY=0\n"))
        observer(failure("boom"))

        def entries(*selection: str) -> list[dict[str, str]]:
            text = guest.run("journalctl", "--output=json", "--no-pager", *selection)
            return [json.loads(line) for line in text.splitlines()]

        wait_until(lambda: entries("DEVLXD_EVENT=turn-failed"), "the second event")
        (entry,) = entries("DEVLXD_CONTAINER=c1", "DEVLXD_EVENT=caller-refused")
        self.assertEqual(entry["PRIORITY"], "4")
        self.assertEqual(entry["DEVLXD_CGROUP"], "/x")
        self.assertEqual(entry["MESSAGE"], "not in a container: a\\nPRIORITY=0\\n")
        (entry,) = entries("SYSLOG_IDENTIFIER=devlxd", "--priority=crit")
        self.assertIn("\nbuiltins.ZeroDivisionError: boom", entry["MESSAGE"])
        self.assertEqual(entry["CODE_FUNC"], "failure")
