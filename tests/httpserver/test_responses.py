"""Tests of `devlxd.httpserver.responses`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.httpserver.responses import (
    BAD_REQUEST,
    Response,
    ResponseError,
    not_allowed,
    refusal,
)


class ResponseTests(SynchronousTestCase):
    """Responses as values."""

    def test_refusal(self) -> None:
        """A refusal is one line of plain text, which browsers do not treat as HTML."""
        response = refusal(404, "no <b>such</b> path")
        self.assertEqual(response.body, b"no <b>such</b> path\n")
        self.assertIn((b"Content-Type", b"text/plain; charset=utf-8"), response.headers)
        self.assertIn((b"X-Content-Type-Options", b"nosniff"), response.headers)
        self.assertFalse(response.closes)

    def test_closes(self) -> None:
        """The response to data that is not HTTP closes the connection."""
        self.assertTrue(BAD_REQUEST.closes)

    def test_not_allowed(self) -> None:
        """The refusal of a method lists the allowed methods."""
        response = not_allowed((b"GET", b"HEAD"))
        self.assertEqual(response.code, 405)
        self.assertIn((b"Allow", b"GET, HEAD"), response.headers)

    def test_error(self) -> None:
        """A `ResponseError` contains the response to send."""
        response = Response(502, (), b"")
        self.assertIs(ResponseError(response).response, response)
