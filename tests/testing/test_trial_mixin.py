"""Tests of `DevLXDMixin`."""

from __future__ import annotations

from unittest import TestResult

from twisted.trial.unittest import SynchronousTestCase

from devlxd.testing import DevLXDMixin


class _Guests(DevLXDMixin, SynchronousTestCase):
    """Tests of a guest program, one that ends well and one that does not."""

    dialect = "incus"

    def asks(self) -> None:
        """Ask a question."""
        self.devlxd.set_config("c1", "user.a", "1")
        value = self.successResultOf(self.devlxd.guest("c1").get("user.a"))
        self.assertEqual(value, "1")

    def plans(self) -> None:
        """Plan a failure that no question meets."""
        self.devlxd.fail_next(500)


class DevLXDMixinTests(SynchronousTestCase):
    """`DevLXDMixin`."""

    def test_passes(self) -> None:
        """A test that leaves nothing passes."""
        result = TestResult()
        _Guests("asks").run(result)
        self.assertTrue(result.wasSuccessful())

    def test_fails(self) -> None:
        """A test that leaves something fails, and says what."""
        result = TestResult()
        _Guests("plans").run(result)
        ((_test, text),) = result.failures + result.errors
        self.assertIn("an unused failure", text)
