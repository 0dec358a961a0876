"""Tests of ``devlxd container`` beside a devlxd: many writers at once."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys

from inotify_simple import INotify, flags

from tests.integration.lxc import (
    LXCContainer,
    make_home,
    missing_requirement,
    unique_name,
)
from tests.integration.processes import TIMEOUT, wait_until
from tests.integration.test_commands import DEVLXD, CommandTestCase

#: How many keys each writer sets.
KEYS = 100

#: How many commands are killed.
KILLED = 10

#: The document that is written to, with comments in all places.
DOCUMENT = """\
# The first line.
config:  # The config.
  # About the key.
  user.first: 'one'  # its value
  user.script: |  # a script

    exec true

devices: {}
# The last line.
"""

#: Sets keys one after the other, as the command does: each under the lock.
WRITER = """
import sys
from pathlib import Path
from devlxd.documents.changes import SetValue
from devlxd.documents.directory import DocumentDirectory
directory, name, word, count = sys.argv[1:]
for number in range(int(count)):
    change = SetValue(("config", f"user.{word}{number}"), word)
    DocumentDirectory(Path(directory)).change(name, [change])
"""

#: Prints each event of a guest in one line, and says when it hears them.
LISTENER = """
import json, socket
connection = socket.socket(socket.AF_UNIX)
connection.connect("/dev/lxd/sock")
connection.sendall(
    b"GET /1.0/events HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\n"
    b"Upgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n"
)
stream = connection.makefile("rb")
while stream.readline().strip():
    pass
print("listening", flush=True)
while head := stream.read(2):
    length = head[1] & 127
    if length >= 126:
        length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
    print(json.dumps(json.loads(stream.read(length))), flush=True)
"""


class ContainerCommandTests(CommandTestCase):
    """Concurrent commands on one document."""

    def setUp(self) -> None:
        super().setUp()
        self.document = self.write("c1", DOCUMENT)
        self.document.chmod(0o640)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a command."""
        return [DEVLXD, "container", *arguments, f"--containers={self.containers}"]

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a process that the test may leave."""
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def config(self, name: str = "c1") -> dict[str, str]:
        """Return the config of the document, as the command reads it."""
        shown = subprocess.run(
            self.command("show", name, "--json"), check=True, stdout=subprocess.PIPE
        )
        config: dict[str, str] = json.loads(shown.stdout)["config"]
        return config

    def write_at_once(self, name: str) -> None:
        """Let two processes set `KEYS` keys of a document each, and a command one."""
        writers = [
            self.start(
                sys.executable,
                "-c",
                WRITER,
                str(self.containers),
                name,
                word,
                str(KEYS),
            )
            for word in ("left", "right")
        ]
        writers.append(self.start(*self.command("set", name, "user.command=1")))
        for writer in writers:
            _, error = writer.communicate(timeout=TIMEOUT * 4)
            self.assertEqual((writer.returncode, error), (0, b""))

    def assert_kept(self, text: str) -> None:
        """Check that what was in the document is still there, and in order."""
        lines = iter(text.splitlines())
        for line in DOCUMENT.splitlines():
            self.assertIn(line, lines)

    def test_two_at_once(self) -> None:
        """Of two writers none loses a key, and the comments and the mode stay."""
        self.write_at_once("c1")
        config = self.config()
        for word in ("left", "right"):
            for number in range(KEYS):
                self.assertEqual(config.pop(f"user.{word}{number}"), word)
        self.assertEqual(
            config,
            {
                "user.first": "one",
                "user.script": "\nexec true\n",
                "user.command": "1",
            },
        )
        self.assert_kept(self.document.read_text())
        self.assertEqual(self.document.stat().st_mode & 0o777, 0o640)
        self.assertEqual([path.name for path in self.containers.iterdir()], ["c1.yaml"])

    def test_killed(self) -> None:
        """A command that is killed has changed all or nothing; the others go on."""
        other = self.start(
            sys.executable, "-c", WRITER, str(self.containers), "c1", "other", "300"
        )
        ended = []
        for number in range(KILLED):
            writer = self.start(
                sys.executable, "-c", WRITER, str(self.containers), "c1",
                f"killed{number}.", "1000",
            )  # fmt: skip
            # It is somewhere in its work as soon as its first key is there.
            wait_until(
                lambda n=number: f"killed{n}.0:" in self.document.read_text(),  # type: ignore[misc] # the number of this turn
                "the first key of a writer",
            )
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
            config = self.config()
            ended.append(sum(key.startswith(f"user.killed{number}.") for key in config))
            self.assert_kept(self.document.read_text())
        _, error = other.communicate(timeout=TIMEOUT * 4)
        self.assertEqual((other.returncode, error), (0, b""))
        self.assertEqual(self.run_command("check", str(self.containers)), 0)
        config = self.config()
        self.assertEqual(sum(key.startswith("user.other") for key in config), 300)
        for number, count in enumerate(ended):
            found = [key for key in config if key.startswith(f"user.killed{number}.")]
            self.assertEqual(len(found), count)
        self.assertEqual(
            self.run_command(*self.command("set", "c1", "user.end=1")[1:]), 0
        )
        self.assertEqual([path.name for path in self.containers.iterdir()], ["c1.yaml"])

    def test_killed_while_writing(self) -> None:
        """A command that is killed while it writes leaves the old document, or the new.

        What else it leaves is hidden, and the next command removes it.
        """
        before = self.config()
        with INotify() as watcher:
            watcher.add_watch(self.containers, flags.CREATE)
            for number in range(KILLED):
                value = f"{number}" * 1024 * 1024
                command = self.command("set", "c1", "user.large", "-")
                writer = subprocess.Popen(command, stdin=subprocess.PIPE)
                self.addCleanup(writer.wait)
                self.addCleanup(writer.kill)
                assert writer.stdin is not None
                writer.stdin.write(value.encode())
                writer.stdin.close()
                # The new file is there, and being written.
                self.assertTrue(watcher.read(timeout=int(TIMEOUT * 1000)))
                writer.kill()
                # On a busy machine it may have ended before it was killed.
                self.assertIn(writer.wait(), (0, -signal.SIGKILL))
                after = self.config()
                new = {**before, "user.large": value}
                self.assertIn(after, (before, new))
                before = after
                self.assert_kept(self.document.read_text())
                self.assertEqual(self.document.stat().st_mode & 0o777, 0o640)
        check = ("check", str(self.containers))
        self.assertEqual(self.run_command(*check), 0)
        end = self.command("set", "c1", "user.large=")[1:]
        self.assertEqual(self.run_command(*end), 0)
        self.assertEqual([path.name for path in self.containers.iterdir()], ["c1.yaml"])

    def test_edit(self) -> None:
        """What is set while somebody edits is not lost, nor is the edited text."""
        command = shlex.join(self.command("set", "c1", "user.meanwhile=1"))
        script = f'{command} && sed -i s/one/two/ "$1"'
        environment = {
            **os.environ,
            "VISUAL": shlex.join(["sh", "-c", script, "editor"]),
            "TMPDIR": str(self.directory),
        }
        terminal, stdin = os.openpty()
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.close, stdin)
        edited = subprocess.run(
            self.command("edit", "c1"),
            check=False,
            env=environment,
            stdin=stdin,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT,
        )
        self.assertEqual(edited.returncode, 1)
        self.assertIn("has been changed by somebody else meanwhile", edited.stderr)
        (kept,) = self.directory.glob("devlxd-c1-*.yaml")
        self.assertIn(f"is kept in {kept}\n", edited.stderr)
        self.assertEqual(kept.read_text(), DOCUMENT.replace("one", "two"))
        self.assertEqual(self.config()["user.meanwhile"], "1")
        self.assertEqual(self.config()["user.first"], "one")

    def test_guest(self) -> None:
        """The guest hears of each key that two writers set, once."""
        reason = missing_requirement()
        if reason is not None:
            self.skipTest(reason)
        name = unique_name("documents")
        self.document.unlink()
        created = self.command("create", name, "user.a=1")[1:]
        self.assertEqual(self.run_command(*created), 0)
        self.serve()
        home = make_home()
        self.addCleanup(shutil.rmtree, home)
        binds = {self.directory / "guests": "dev/lxd"}
        guest = LXCContainer(name, home, 100_000, binds)
        guest.start()
        self.addCleanup(guest.stop)
        output = self.directory / "events"
        command = ["lxc-attach", "-P", str(home), "-n", name, "--"]
        with output.open("wb") as file:
            listener = subprocess.Popen(
                [*command, "/usr/bin/python3", "-c", LISTENER], stdout=file
            )
        self.addCleanup(listener.wait)
        self.addCleanup(listener.kill)
        wait_until(lambda: "listening" in output.read_text(), "a listening guest")
        self.write_at_once(name)
        total = 2 * KEYS + 1
        wait_until(lambda: output.read_text().count("\n") > total, "all events")
        events = [json.loads(line) for line in output.read_text().splitlines()[1:]]
        keys = [event["metadata"]["key"] for event in events]
        expected = [
            f"user.{word}{n}" for word in ("left", "right") for n in range(KEYS)
        ]
        self.assertEqual(sorted(keys), sorted([*expected, "user.command"]))
