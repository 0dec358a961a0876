"""Tests of `devlxd.booleans`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.booleans import is_false, is_true


class BooleanTests(SynchronousTestCase):
    """The words for true and false in the values of config keys."""

    def test_true(self) -> None:
        """Four words mean true, in any letter case."""
        for text in ("true", "True", "TRUE", "1", "yes", "YES", "on", "oN"):
            self.assertTrue(is_true(text), text)
            self.assertFalse(is_false(text), text)

    def test_false(self) -> None:
        """Four words mean false, in any letter case."""
        for text in ("false", "False", "0", "no", "NO", "off", "ofF"):
            self.assertTrue(is_false(text), text)
            self.assertFalse(is_true(text), text)

    def test_neither(self) -> None:
        """All other text means neither."""
        for text in ("", " ", "true ", "y", "n", "2", "enabled"):
            self.assertFalse(is_true(text), text)
            self.assertFalse(is_false(text), text)
