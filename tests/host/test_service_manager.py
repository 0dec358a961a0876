"""Tests of `devlxd.host.service_manager`."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from devlxd.host.handover_store import SystemdHandoverStore
from devlxd.host.notifier import NullNotifier, SystemdNotifier
from devlxd.host.notify_socket import NotifySocket
from devlxd.host.service_manager import take_service_manager
from devlxd.model import HandedOver
from tests.host.managers import FakeSystemd


class ServiceManagerTests(SynchronousTestCase):
    """The environment that the service manager makes."""

    def test_no_manager(self) -> None:
        """Without a manager, nothing is told, and connections are not kept."""
        for environment in ({}, {"NOTIFY_SOCKET": "vsock:2:1234"}):
            manager = take_service_manager(environment, [])
            self.assertIsInstance(manager.notifier, NullNotifier)
            self.assertIsNone(manager.store)
            self.assertEqual(environment, {})

    def test_variables(self) -> None:
        """The variables are removed, as child processes must not use them."""
        environment = {
            "NOTIFY_SOCKET": "@nobody",
            "WATCHDOG_USEC": "3000000",
            "WATCHDOG_PID": str(os.getpid()),
            "LISTEN_FDNAMES": "guests",
            "HOME": "/",
        }
        manager = take_service_manager(environment, [])
        self.assertEqual(environment, {"HOME": "/"})
        self.assertIsInstance(manager.notifier, SystemdNotifier)
        self.assertEqual(manager.notifier.watchdog, 3.0)

    def test_watchdog_of_others(self) -> None:
        """The watchdog of another process, or none, is not fed."""
        for variables in (
            {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
            {"WATCHDOG_USEC": "soon"},
            {},
        ):
            environment = {"NOTIFY_SOCKET": "@nobody", **variables}
            manager = take_service_manager(environment, [])
            self.assertEqual(manager.notifier.watchdog, 0)
            self.assertEqual(environment, {})

    def test_stored(self) -> None:
        """Stored descriptors are found by their name, wherever they are."""
        systemd = FakeSystemd(self)
        peer, ours = socket.socketpair()
        self.addCleanup(peer.close)
        before = SystemdHandoverStore(NotifySocket(systemd.address))
        with ours:
            self.assertTrue(before.save([HandedOver(ours.fileno(), {"a": 1})]))
        (stored,) = systemd.inherited()
        os.set_inheritable(stored, True)
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        environment = {
            "NOTIFY_SOCKET": systemd.address,
            "LISTEN_FDNAMES": "guests:devlxd-connections",
        }
        manager = take_service_manager(environment, [listening.fileno(), stored])
        assert manager.store is not None
        self.assertFalse(os.get_inheritable(stored))
        (taken,) = manager.store.take()
        self.addCleanup(os.close, taken.descriptor)
        self.assertEqual(dict(taken.record), {"a": 1})
        # The other one is a listening socket, which is still open.
        os.fstat(listening.fileno())
