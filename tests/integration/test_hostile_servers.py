"""Guests of servers that send anything but what they should."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.client import hostile_client
from tests.client.hostile_servers import (
    BODIES,
    ENDLESS_FRAMES,
    ENDLESS_IMAGES,
    ENDLESS_LINES,
    FLOODS,
    FRAMES,
    FULL,
    HEADS,
    IMAGES,
    LINES,
    VALUES,
    HostileServers,
)
from tests.integration.processes import TEST_TIMEOUT, TIMEOUT

#: The timeout of a question to a server that lets it wait, and of others, in seconds.
SHORT, LONG = 0.5, 60.0

#: The memory of a process that reads nothing large, and of one that reads as much as
#: it may (64 MiB, once as pieces, once as a whole, and once as text), in MiB.
SMALL, LARGE = 120, 400

#: What comes of a behaviour in any call. What is not here is a `ProtocolError`.
OUTCOMES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            FULL,
            "nothing",
            "close",
            "half-status",
            "half-head",
            "trickle-head",
            "half-body",
            "half-chunk",
            "trickle-body",
            "trickle-chunks",
            "small-chunks",
        ),
        "Unavailable",
    ),
    "escapes": "Forbidden",
    "image-other": "DoesNotMatch",
    # The disk is full: an image may have any length.
    "image-promise": "OSError",
    "image-endless": "OSError",
}

#: The behaviours by call: those before there is a response are for each of them.
BEHAVIOURS: Mapping[str, tuple[str, ...]] = {
    "get": (*BODIES,),
    "meta_data": (*BODIES,),
    "ready": (*BODIES,),
    "config": (*BODIES, *VALUES),
    "devices": (*BODIES, *VALUES),
    "device": (*BODIES, *VALUES),
    "info": (*BODIES, *VALUES),
    "image": (*IMAGES, *ENDLESS_IMAGES),
}

#: Where the command is installed.
DEVLXD = str(Path(sys.executable).with_name("devlxd"))

#: The commands that ask one question.
QUESTIONS = (
    ("info",),
    ("config",),
    ("config", "user.a", "--json"),
    ("devices", "eth0"),
    ("meta-data",),
    ("ready",),
)

#: The exit status of the command by exception.
STATUSES = {"ProtocolError": 1, "DoesNotMatch": 1, "Forbidden": 4, "Unavailable": 5}

FACES = ("sync", "twisted")


class HostileServerTestCase(SynchronousTestCase):
    """A base class of tests with all servers.

    :ivar at: the directory of their sockets.
    """

    timeout = TEST_TIMEOUT

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.at = Path(directory.name)
        servers = HostileServers(self.at)
        self.addCleanup(servers.close)


class GuestTests(HostileServerTestCase):
    """Each call of both guests ends with an exception of its own, in bounded memory."""

    def check(self, face: str, call: str, names: tuple[str, ...], most: float) -> None:
        """Check what comes of a call.

        :param most: the memory that the process may take, in MiB.
        """
        expected = {name: OUTCOMES.get(name, "ProtocolError") for name in names}
        timeouts = {
            str(self.at / name): SHORT if outcome == "Unavailable" else LONG
            for name, outcome in expected.items()
        }
        client = subprocess.run(
            [sys.executable, hostile_client.__file__, face, call],
            input=json.dumps(timeouts),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual((client.returncode, client.stderr), (0, ""))
        found = json.loads(client.stdout)
        outcomes = {Path(path).name: text for path, text in found["outcomes"].items()}
        self.assertEqual(outcomes, expected, f"{face} {call}")
        self.assertLess(found["peak"], most, f"{face} {call}")

    def check_call(self, call: str) -> None:
        """Check what comes of a call with either guest."""
        for face in FACES:
            self.check(face, call, (FULL, *HEADS, *BEHAVIOURS[call]), SMALL)

    def test_get(self) -> None:
        """The value of a key."""
        self.check_call("get")

    def test_config(self) -> None:
        """The config."""
        self.check_call("config")

    def test_devices(self) -> None:
        """The devices, and one of them."""
        self.check_call("devices")
        self.check_call("device")

    def test_info(self) -> None:
        """The description of the API."""
        self.check_call("info")

    def test_meta_data(self) -> None:
        """The meta-data."""
        self.check_call("meta_data")

    def test_ready(self) -> None:
        """The report of the state of the guest."""
        self.check_call("ready")

    def test_image(self) -> None:
        """An image, however long it is."""
        self.check_call("image")

    def test_events(self) -> None:
        """The events, as lines and on a websocket."""
        self.check("sync", "events", (FULL, *HEADS, *LINES), SMALL)
        self.check("twisted", "events", (FULL, *HEADS, *FRAMES), SMALL)

    def test_floods(self) -> None:
        """As much data as the server likes is read up to the limit."""
        for face in FACES:
            self.check(face, "config", (*FLOODS,), LARGE)
            self.check(face, "meta_data", ("flood-chunks", "flood-body"), LARGE)
        self.check("sync", "events", (*ENDLESS_LINES,), LARGE)
        self.check("twisted", "events", (*ENDLESS_FRAMES,), LARGE)


class CommandTests(HostileServerTestCase):
    """The command for guests says in one line what is wrong, and harms no terminal."""

    def run_command(self, name: str, *arguments: str) -> tuple[int, bytes, str]:
        """Ask a server; return the status, and what is on both outputs."""
        command = subprocess.run(
            [DEVLXD, *arguments, "--socket", str(self.at / name)],
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        return command.returncode, command.stdout, command.stderr.decode()

    def check_refused(self, name: str, *arguments: str) -> None:
        """Check that a command fails with one printable line."""
        status, stdout, stderr = self.run_command(name, *arguments)
        expected = STATUSES[OUTCOMES.get(name, "ProtocolError")]
        self.assertEqual((status, stdout), (expected, b""), f"{name} {arguments}")
        line, end, rest = stderr.partition("\n")
        self.assertTrue(line.startswith("devlxd: ") and line.isprintable(), line)
        self.assertEqual((end, rest), ("\n", ""), stderr)

    def test_questions(self) -> None:
        """Questions to servers of all kinds."""
        short = ("--timeout", str(SHORT))
        for command in QUESTIONS:
            for name in HEADS:
                waits = OUTCOMES.get(name) == "Unavailable"
                self.check_refused(name, *command, *(short if waits else ()))

    def test_bodies(self) -> None:
        """Questions to servers that send a part of a response."""
        for name in BODIES:
            waits = OUTCOMES.get(name) == "Unavailable"
            self.check_refused(
                name, "config", "--timeout", str(SHORT if waits else LONG)
            )
        for name in VALUES:
            self.check_refused(name, "devices")

    def test_image(self) -> None:
        """Nothing is left of an image that is none."""
        with tempfile.TemporaryDirectory() as directory:
            for name in ("garbage", "escapes", "image-head", "image-other"):
                target = ("-o", f"{directory}/image")
                self.check_refused(name, "image", "get", "0" * 64, *target)
            self.assertEqual(list(Path(directory).iterdir()), [])

    def test_events(self) -> None:
        """Events that are none."""
        for name in ("garbage", "escapes", *LINES):
            self.check_refused(name, "events")

    def test_escapes(self) -> None:
        """Text of the server is printed without control characters."""
        for name, *arguments in (
            ("escaped-config", "config"),
            ("escaped-config", "config", "--json"),
            ("escaped-config", "info"),
            ("escaped-devices", "devices"),
            ("escaped-devices", "devices", "\x1b[2J"),
            ("escaped-devices", "devices", "--json"),
        ):
            status, stdout, stderr = self.run_command(name, *arguments)
            self.assertEqual((status, stderr), (0, ""), arguments)
            self.assertRegex(stdout, rb"\A[ -~\n]+\Z", arguments)

    def test_exact(self) -> None:
        """A value and the meta-data are printed as they are."""
        for arguments in (("config", "user.a"), ("meta-data",)):
            status, stdout, stderr = self.run_command("raw-value", *arguments)
            self.assertEqual((status, stdout, stderr), (0, b"\x1b[2J\xff\r\0", ""))
