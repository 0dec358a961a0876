"""Tests of `devlxd.admin.response_cache`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.admin.response_cache import LIFETIME, MAX_KEPT, ResponseCache
from devlxd.admin.responses import AdminResponse, text_response


class ResponseCacheTests(SynchronousTestCase):
    """`ResponseCache`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = ResponseCache(self.clock)
        self.made = 0

    def make(self) -> AdminResponse:
        """Return a new response, whose body is the number of calls."""
        self.made += 1
        return text_response(str(self.made))

    def get(self, key: object) -> bytes:
        """Return the body of the response for a key."""
        response = self.cache.get(key, self.make)
        assert response is not None
        return response.body

    def test_lifetime(self) -> None:
        """A response is used for a second, however often it is asked for."""
        self.assertEqual(self.get("a"), b"1")
        self.clock.advance(LIFETIME / 2)
        self.assertEqual(self.get("a"), b"1")
        self.clock.advance(LIFETIME / 2)
        self.assertEqual(self.get("a"), b"2")

    def test_keys(self) -> None:
        """Each key has its response."""
        self.assertEqual([self.get(key) for key in "aba"], [b"1", b"2", b"1"])

    def test_many(self) -> None:
        """A client that invents keys does not fill the memory."""
        for key in range(MAX_KEPT + 1):
            self.get(key)
        self.assertEqual(len(self.cache._responses), MAX_KEPT)
        self.get(MAX_KEPT)
        self.assertEqual(self.made, MAX_KEPT + 1)
        self.get(0)
        self.assertEqual(self.made, MAX_KEPT + 2)

    def test_nothing(self) -> None:
        """A resource that responds itself is asked each time."""
        for _ in range(2):
            self.assertIsNone(self.cache.get("a", lambda: None))
        self.assertEqual(self.cache._responses, {})
