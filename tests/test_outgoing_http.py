"""Tests of `devlxd.outgoing_http`."""

from __future__ import annotations

from OpenSSL.SSL import Error
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import RequestTransmissionFailed, ResponseFailed

from devlxd.outgoing_http import describe


class DescribeTests(SynchronousTestCase):
    """What is said of a request that has failed."""

    def test_reasons(self) -> None:
        """The first reason counts, however deep it is."""
        lost = Failure(ConnectionLost())
        for error in (
            ResponseFailed([lost]),
            RequestTransmissionFailed([Failure(ResponseFailed([lost]))]),
        ):
            self.assertIn("Connection to the other side was lost", describe(error))

    def test_tls(self) -> None:
        """The errors of OpenSSL are said in its words."""
        queue = [("SSL routines", "", "certificate verify failed")]
        self.assertEqual(describe(Error(queue)), "TLS: certificate verify failed")
        self.assertEqual(describe(Error()), "TLS: the connection failed")

    def test_one_line(self) -> None:
        """The text is one line; an error without a text has the name of its class."""
        self.assertEqual(describe(ValueError("a\nb")), r"'a\nb'")
        self.assertEqual(describe(ValueError()), "ValueError")
        self.assertIn("refused", describe(ConnectionRefusedError()))
