"""Tests of ``devlxd container set`` and ``unset``, and of the same of devices."""

from __future__ import annotations

from tests.commands.documents.container_test_case import ContainerTestCase


class KeyTests(ContainerTestCase):
    """Setting and removing keys."""

    def test_set(self) -> None:
        """Keys are set, and nothing is printed; the rest of the document stays."""
        self.assertEqual(self.container("set", "c1", "user.a=two", "user.b=a=b"), 0)
        self.assertEqual(
            self.document.read_text(), "config:\n  user.a: two # a\n  user.b: a=b\n"
        )
        self.assertEqual((self.printed(), self.errors_printed()), ("", ""))

    def test_key_and_value(self) -> None:
        """``KEY VALUE`` is understood, as by ``lxc``; a value may be empty."""
        self.assertEqual(self.container("set", "c1", "user.a", "b=c"), 0)
        self.assertIn("user.a: b=c # a\n", self.document.read_text())
        self.assertEqual(self.container("set", "c1", "user.a="), 0)
        self.assertIn('user.a: "" # a\n', self.document.read_text())

    def test_standard_input(self) -> None:
        """``-`` is the standard input to the byte, unless that is a terminal."""
        self.type("l1\nü\n".encode())
        self.assertEqual(self.container("set", "c1", "user.a", "-"), 0)
        text = "config:\n  user.a: | # a\n    l1\n    ü\n"
        self.assertEqual(self.document.read_text(), text)
        self.type(b"x")
        self.assertEqual(self.container("set", "c1", "user.a=-", "user.b=1"), 0)
        self.assertIn("user.a: x # a", self.document.read_text())
        self.type(b"typed", is_terminal=True)
        self.assertEqual(self.container("set", "c1", "user.a=-"), 0)
        self.assertIn("user.a: '-' # a", self.document.read_text())

    def test_usage(self) -> None:
        """A wrong key or value is a wrong command line."""
        for arguments, reason in (
            (["user.a"], "user.a has no value; write KEY=VALUE"),
            (["user.a", "b", "c=d"], "user.a has no value; write KEY=VALUE"),
            (["=a"], "cannot be the name of a key"),
            (["a\n=b"], "cannot be the name of a key"),
            (["a=1", "a=2"], "a is given twice"),
            (["a=\udcff"], "the value of a is not UTF-8"),
        ):
            self.assert_refused(2, reason, "set", "c1", *arguments)
        self.type(b"\xff")
        self.assert_refused(2, "not UTF-8", "set", "c1", "a=-")
        self.type(b"")
        reason = "only one value can be read from standard input"
        self.assert_refused(2, reason, "set", "c1", "a=-", "b=-")
        self.assert_refused(2, "name of a device", "device", "set", "c1", "", "a=b")

    def test_endless_input(self) -> None:
        """A value that no document could hold is not read to its end."""
        self.type(b"x" * 17 * 1024 * 1024)
        self.assert_refused(1, "a: longer than 16777216 bytes", "set", "c1", "a=-")

    def test_warnings(self) -> None:
        """A likely mistake is set, with a warning that names the line."""
        self.assertEqual(self.container("set", "c1", "security.devlxd=x"), 0)
        warning = "c1.yaml:3: security.devlxd is neither true nor false; "
        self.assertTrue(self.errors_printed().startswith(warning))
        self.assertEqual(self.container("set", "c1", "user.b=1"), 0)
        self.assertEqual(self.errors_printed(), "")

    def test_unset(self) -> None:
        """A removed key is gone; one that is not set is an error."""
        self.assert_refused(1, "c1.yaml: user.b is not set", "unset", "c1", "user.b")
        self.assertEqual(self.container("unset", "c1", "user.a"), 0)
        self.assertEqual(self.document.read_text(), "config: {}\n")

    def test_device(self) -> None:
        """Keys of devices are set and removed; a missing device is added."""
        set_device = ("device", "set", "c1", "eth0")
        self.assertEqual(self.container(*set_device, "type=nic", "mtu=1500"), 0)
        self.assertEqual(self.container("device", "unset", "c1", "eth0", "mtu"), 0)
        text = "config:\n  user.a: one # a\n"
        device = "devices:\n  eth0:\n    type: nic\n"
        self.assertEqual(self.document.read_text(), text + device)
        unset = ("device", "unset", "c1", "eth1", "mtu")
        self.assert_refused(1, "mtu is not set", *unset)
        self.assertEqual(self.container("device", "remove", "c1", "eth0"), 0)
        self.assertEqual(self.document.read_text(), f"{text}devices: {{}}\n")
        self.assert_refused(1, "eth0 is not set", "device", "remove", "c1", "eth0")

    def test_broken(self) -> None:
        """A broken document is not changed; the fault is printed with its line."""
        self.write("config:\n  user.a: [secret]\n")
        self.assertEqual(self.container("set", "c1", "user.b=1"), 1)
        error = self.errors_printed()
        self.assertTrue(error.startswith("c1.yaml:2: config: user.a is not text"))
        self.assertNotIn("secret", error)
