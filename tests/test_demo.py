"""Tests of `devlxd.demo`."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from devlxd.demo import QUESTIONS, DemoService, instructions
from devlxd.testing import GuestConnection, MemoryDevLXDReactor


class DemoTests(SynchronousTestCase):
    """``twistd devlxd --demo``."""

    def setUp(self) -> None:
        self.reactor = MemoryDevLXDReactor()
        self.service = DemoService(self.reactor)
        self.printed: list[str] = []
        self.patch(self.service, "say", self.printed.append)
        self.service.privilegedStartService()
        self.service.startService()
        self.addCleanup(self.service.stopService)
        path, self.site, *_ = self.reactor.unixServers[0]
        self.directory = Path(path).parent

    def test_answers_as_printed(self) -> None:
        """Each line that it prints answers as printed."""
        guest = GuestConnection(self.site)
        self.addCleanup(guest.hang_up)
        for path, answer in QUESTIONS:
            response = guest.get(path).decode()
            self.assertEqual(response.partition("\r\n\r\n")[2], answer)

    def test_prints(self) -> None:
        """It prints what to type, with the path to type."""
        self.assertEqual(self.printed, [instructions(self.directory)])
        for path, answer in QUESTIONS:
            line = f"$ curl --unix-socket {self.directory}/sock http://lxd{path}\n"
            self.assertIn(line + answer.rstrip("\n") + "\n", self.printed[0])

    def test_leaves_nothing(self) -> None:
        """When it stops, its directory is gone."""
        self.assertTrue(os.path.isdir(self.directory))
        self.successResultOf(self.service.stopService())
        self.assertFalse(os.path.exists(self.directory))
