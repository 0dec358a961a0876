"""Tests of `devlxd.host.notifier` and `devlxd.host.notify_socket`."""

from __future__ import annotations

import os
import secrets
import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from devlxd.host.notifier import NullNotifier, SystemdNotifier
from devlxd.host.notify_socket import NotifySocket
from devlxd.interfaces import INotifier
from devlxd.testing import RecordingNotifier
from devlxd.testing.contracts import NotifierContract
from tests.host.managers import FakeSystemd


class SystemdNotifierTests(NotifierContract, SynchronousTestCase):
    """Notifying systemd."""

    def setUp(self) -> None:
        super().setUp()
        self.systemd = FakeSystemd(self)

    def make_notifier(self) -> INotifier:
        """See `NotifierContract.make_notifier`."""
        return SystemdNotifier(NotifySocket(self.systemd.address), 2.0)

    def silence(self) -> None:
        """See `NotifierContract.silence`."""
        self.systemd.close()

    def test_lines(self) -> None:
        """Each state is a line of ``sd_notify(3)``; a status has one line."""
        notifier = self.make_notifier()
        before = time.monotonic()
        self.call_all(notifier)
        notifier.status("two\nlines")
        lines = self.systemd.read()
        name, _, microseconds = lines.pop(3).partition("=")
        self.assertEqual(name, "MONOTONIC_USEC")
        self.assertLessEqual(before - 1e-5, int(microseconds) / 1e6)
        self.assertEqual(
            lines,
            [
                *("STATUS=one line", "READY=1", "RELOADING=1", "WATCHDOG=1"),
                *("STOPPING=1", "STATUS=two lines"),
            ],
        )
        self.assertEqual(notifier.watchdog, 2.0)

    def test_abstract(self) -> None:
        """An address with ``@`` is that of an abstract socket."""
        name = f"devlxd-{secrets.token_hex(8)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(f"\0{name}")
            SystemdNotifier(NotifySocket(f"@{name}")).ready()
            self.assertEqual(manager.recv(100), b"READY=1")


class NotifySocketTests(SynchronousTestCase):
    """The socket of the service manager."""

    def test_barrier(self) -> None:
        """A barrier returns when the manager has read what was sent before it."""
        systemd = FakeSystemd(self)
        manager = NotifySocket(systemd.address)
        self.assertTrue(manager.send("A=1", "B=2"))
        self.assertTrue(manager.barrier(30))
        self.assertEqual(systemd.lines, ["A=1", "B=2", "BARRIER=1"])

    def test_nobody_reads(self) -> None:
        """A barrier that is not passed ends after its timeout."""
        path = os.path.abspath(self.mktemp())[-90:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(f"\0{path}")
            self.assertFalse(NotifySocket(f"@{path}").barrier(0.001))
        self.assertFalse(NotifySocket(f"@{path}").barrier(0.001))


class NullNotifierTests(NotifierContract, SynchronousTestCase):
    """No service manager."""

    def make_notifier(self) -> INotifier:
        """See `NotifierContract.make_notifier`."""
        return NullNotifier()


class RecordingNotifierTests(NotifierContract, SynchronousTestCase):
    """The notifier for tests."""

    def make_notifier(self) -> INotifier:
        """See `NotifierContract.make_notifier`."""
        return RecordingNotifier()

    def test_recorded(self) -> None:
        """All calls are recorded in order."""
        notifier = RecordingNotifier()
        self.call_all(notifier)
        self.assertEqual(
            notifier.calls, ["one line", "ready", "reloading", "alive", "stopping"]
        )
