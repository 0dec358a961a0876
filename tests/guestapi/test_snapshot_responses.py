"""Tests of `devlxd.guestapi.snapshot_responses`."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from devlxd.guestapi.snapshot_responses import (
    MAX_RENDERED,
    ResponseCache,
    text_response,
)
from devlxd.httpserver.responses import INTERNAL_ERROR
from devlxd.model import Container

C1 = Container("c1", {"user.a": "1"})


class RenderedResponseTests(SynchronousTestCase):
    """The responses that are kept as they are sent."""

    def setUp(self) -> None:
        self.cache = ResponseCache()

    def test_snapshot(self) -> None:
        """They are those of one snapshot; those of another one replace them."""
        self.cache.put_rendered(C1, b"/a", text_response("1"))
        kept = self.cache.get_rendered(C1, b"/a")
        assert kept is not None
        self.assertEqual(kept.body, b"1")
        other = evolve(C1)
        self.assertIsNone(self.cache.get_rendered(other, b"/a"))
        self.cache.put_rendered(other, b"/b", text_response("1"))
        self.assertIsNone(self.cache.get_rendered(C1, b"/a"))

    def test_forget(self) -> None:
        """They are dropped with the other values of a container."""
        self.cache.put_rendered(C1, b"/a", text_response("1"))
        self.cache.forget("c1")
        self.assertIsNone(self.cache.get_rendered(C1, b"/a"))

    def test_number(self) -> None:
        """Their number is limited: each needs some memory."""
        for number in range(MAX_RENDERED + 1):
            self.cache.put_rendered(C1, b"/%d" % number, text_response("1"))
        last = b"/%d" % (MAX_RENDERED - 1)
        self.assertIsNotNone(self.cache.get_rendered(C1, last))
        self.assertIsNone(self.cache.get_rendered(C1, b"/%d" % MAX_RENDERED))

    def test_error(self) -> None:
        """A response that cannot be kept is not."""
        self.cache.put_rendered(C1, b"/a", INTERNAL_ERROR)
        self.assertIsNone(self.cache.get_rendered(C1, b"/a"))
