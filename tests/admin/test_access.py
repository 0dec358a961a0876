"""Tests of `devlxd.admin.access`."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.access import is_own_host


class OwnHostTests(SynchronousTestCase):
    """`is_own_host`."""

    def test_own(self) -> None:
        """This host is named by loopback addresses, its name, and the address."""
        for header in (
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:9100",
            "127.1.2.3",
            "[::1]",
            "[::1]:9100",
            "192.0.2.7:9100",
            f"{socket.gethostname()}:9100",
        ):
            self.assertTrue(is_own_host(header, "192.0.2.7"), header)
        self.assertTrue(is_own_host("[2001:DB8::7]:1", "2001:db8::7"))
        self.assertTrue(is_own_host("192.0.2.7:1", "::ffff:192.0.2.7"))

    def test_others(self) -> None:
        """Any other name may be that of a page's author, whatever it looks like."""
        for header in (
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "192.0.2.8",
            "localhost@evil.example",
            "localhost:80:80",
            "[::1",
            "[localhost]",
            "evil.example:80 localhost",
            "0x7f.1",
            "2130706433",
            "localhost\u0131",
        ):
            self.assertFalse(is_own_host(header, "192.0.2.7"), header)
