"""Tests of `devlxd.demo`."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from devlxd.demo import REQUESTS, DemoService, instructions
from devlxd.testing import GuestConnection, MemoryDevLXDReactor


class DemoTests(SynchronousTestCase):
    """``twistd devlxd --demo``."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.service = DemoService(self.reactor)
        self.printed: list[str] = []
        self.patch(self.service, "print_text", self.printed.append)
        self.service.privilegedStartService()
        self.service.startService()
        self.addCleanup(self.service.stopService)
        path, self.site, *_ = self.reactor.unixServers[0]
        self.directory = Path(path).parent

    def test_responses(self) -> None:
        """Guests receive the printed response to each printed request."""
        guest = GuestConnection(self.site)
        self.addCleanup(guest.disconnect)
        for path, body in REQUESTS:
            response = guest.get(path).decode()
            self.assertEqual(response.partition("\r\n\r\n")[2], body)

    def test_prints(self) -> None:
        """The commands are printed, with the path of the socket."""
        self.assertEqual(self.printed, [instructions(self.directory)])
        for path, body in REQUESTS:
            line = f"$ curl --unix-socket {self.directory}/sock http://lxd{path}\n"
            self.assertIn(line + body.rstrip("\n") + "\n", self.printed[0])

    def test_cleans_up(self) -> None:
        """When the demo stops, its directory is removed."""
        self.assertTrue(os.path.isdir(self.directory))
        self.successResultOf(self.service.stopService())
        self.assertFalse(os.path.exists(self.directory))
