"""Tests of ``devlxd info``, ``config``, ``devices``, ``meta-data`` and ``ready``."""

from __future__ import annotations

import json

from devlxd.client.errors import (
    DoesNotMatch,
    Forbidden,
    NotFound,
    NotSupported,
    ProtocolError,
    Unavailable,
)
from tests.commands.guest.fake_guest import GuestCommandTestCase

#: The commands that ask one question.
QUESTIONS = (
    ("info",),
    ("config",),
    ("config", "user.a"),
    ("devices",),
    ("devices", "eth0"),
    ("meta-data",),
    ("ready",),
)


class InfoTests(GuestCommandTestCase):
    """``devlxd info``."""

    def test_text(self) -> None:
        """Each member of ``/1.0`` is a line, and so are the dialect and the socket."""
        self.guest.members = {"api_version": "1.0", "dialect": "lxd", "socket": "/s"}
        self.assertEqual(self.run_command("info"), 0)
        self.assertEqual(self.printed(), "api_version: 1.0\ndialect: lxd\nsocket: /s\n")

    def test_json(self) -> None:
        """With ``--json`` it is one object, with everything that the server says."""
        self.guest.members = {"auth": "trusted", "drivers": [{"Name": "dir"}]}
        self.assertEqual(self.run_command("info", "--json"), 0)
        self.assertEqual(json.loads(self.printed()), self.guest.members)


class ConfigTests(GuestCommandTestCase):
    """``devlxd config``."""

    def test_text(self) -> None:
        """Each key is a line with its value, with control characters escaped."""
        self.guest.values = {"user.a": "1\n\x1b[31m", "user.empty": "", "user.é": "ü"}
        self.assertEqual(self.run_command("config"), 0)
        self.assertEqual(
            self.printed(), "user.a: 1\\n\\x1b[31m\nuser.empty:\nuser.é: ü\n"
        )

    def test_json(self) -> None:
        """With ``--json`` it is one object of keys and values."""
        self.guest.values = {"user.a": "1\n\x1b", "user.é": "ü"}
        self.assertEqual(self.run_command("config", "--json"), 0)
        self.assertEqual(json.loads(self.printed()), self.guest.values)

    def test_exact(self) -> None:
        """A value is printed byte for byte, also if it is not text, without an end."""
        for data in (b"bar", b"", b"\xff\x00\x1b[31m\r\n\n", "ü\u2028".encode()):
            self.guest.values["user.a"] = data.decode("utf-8", "surrogateescape")
            self.assertEqual(self.run_command("config", "user.a"), 0)
            self.assertEqual(self.printed_bytes(), data)

    def test_value_json(self) -> None:
        """With ``--json`` a value is a text of JSON."""
        self.guest.values["user.a"] = "é\n"
        self.assertEqual(self.run_command("config", "user.a", "--json"), 0)
        self.assertEqual(self.printed(), '"\\u00e9\\n"\n')

    def test_not_found(self) -> None:
        """For a key that is not there the status is 3, and the error names it."""
        self.assertEqual(self.run_command("config", "user.\x1b"), 3)
        self.assertEqual(self.error(), "devlxd: user.\\x1b: not found")
        self.assertEqual(self.printed(), "")


class DevicesTests(GuestCommandTestCase):
    """``devlxd devices``."""

    def setUp(self) -> None:
        super().setUp()
        self.guest.described = {
            "eth0": {"type": "nic", "nictype": "ipvlan"},
            "root": {"path": "/"},
        }

    def test_text(self) -> None:
        """Each device is its name, with its members below; one device only these."""
        self.assertEqual(self.run_command("devices"), 0)
        self.assertEqual(
            self.printed(),
            "eth0:\n  type: nic\n  nictype: ipvlan\nroot:\n  path: /\n",
        )
        self.assertEqual(self.run_command("devices", "root"), 0)
        self.assertEqual(self.printed(), "path: /\n")

    def test_json(self) -> None:
        """With ``--json`` it is one object by name; one device is one object."""
        self.assertEqual(self.run_command("devices", "--json"), 0)
        self.assertEqual(json.loads(self.printed()), self.guest.described)
        self.assertEqual(self.run_command("devices", "--json", "root"), 0)
        self.assertEqual(json.loads(self.printed()), {"path": "/"})

    def test_not_found(self) -> None:
        """For a device that is not there the status is 3."""
        self.assertEqual(self.run_command("devices", "eth1"), 3)
        self.assertIn("eth1", self.error())


class MetaDataTests(GuestCommandTestCase):
    """``devlxd meta-data``."""

    def test_exact(self) -> None:
        """The meta-data is printed byte for byte."""
        data = b"#cloud-config\ninstance-id: c1\nx: \xff\x1b\n"
        self.guest.yaml = data.decode("utf-8", "surrogateescape")
        self.assertEqual(self.run_command("meta-data"), 0)
        self.assertEqual(self.printed_bytes(), data)

    def test_json(self) -> None:
        """With ``--json`` it is a text of JSON."""
        self.assertEqual(self.run_command("meta-data", "--json"), 0)
        self.assertEqual(json.loads(self.printed()), self.guest.yaml)


class ReadyTests(GuestCommandTestCase):
    """``devlxd ready``."""

    def test_ready(self) -> None:
        """The host is told that the guest is ready, and nothing is printed."""
        self.assertEqual(self.run_command("ready"), 0)
        self.assertTrue(self.guest.is_ready)
        self.assertEqual(self.printed(), "")

    def test_json(self) -> None:
        """With ``--json`` the state is printed that the host was told."""
        self.assertEqual(self.run_command("ready", "--json"), 0)
        self.assertEqual(json.loads(self.printed()), {"state": "Ready"})


class ErrorTests(GuestCommandTestCase):
    """Errors of all commands that ask."""

    def test_statuses(self) -> None:
        """Each error is one line with the server's text, and has its exit status."""
        expected = {
            NotFound: 3,
            Forbidden: 4,
            Unavailable: 5,
            NotSupported: 1,
            ProtocolError: 1,
            DoesNotMatch: 1,
        }
        for kind, status in expected.items():
            self.guest.error = kind("no \x1b[31m\nway")
            for question in QUESTIONS:
                self.assertEqual(self.run_command(*question), status, question)
                self.assertIn("no \\x1b[31m\\nway", self.error())

    def test_no_text(self) -> None:
        """An error without a text is called by its name."""
        self.guest.error = Unavailable()
        self.assertEqual(self.run_command("info"), 5)
        self.assertEqual(self.error(), "devlxd: Unavailable")

    def test_options(self) -> None:
        """Each command takes the socket and the timeout after its name."""
        self.guest.values["user.a"] = "x"
        self.guest.described["eth0"] = {}
        for question in QUESTIONS:
            options = ("--socket=/nope", "--timeout=1.5")
            self.assertEqual(self.run_command(*question, *options), 0)
            self.assertEqual(self.guest.opened.pop(), ("/nope", 1.5))
            self.assertEqual(self.run_command(*question), 0)
            self.assertEqual(self.guest.opened.pop(), (None, 10.0))

    def test_bad_timeout(self) -> None:
        """A timeout that is no positive number is a wrong command line."""
        for text in ("0", "-1", "x", "nan", "inf", ""):
            self.assertEqual(self.run_command("info", f"--timeout={text}"), 2)
            self.assertIn("not a number of seconds", self.error())
