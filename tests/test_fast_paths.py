"""Tests of `devlxd.fast_paths`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd import fast_paths
from devlxd.fast_paths import FastPath, enabled_paths, is_on


class FastPathTests(SynchronousTestCase):
    """The environment variable that switches fast paths off."""

    def test_all(self) -> None:
        """All fast paths are used unless the variable is set."""
        self.assertEqual(set(enabled_paths({})), set(FastPath))

    def test_slow(self) -> None:
        """Those that the variable names are not used."""
        enabled = enabled_paths({"DEVLXD_SLOW": "writes  files"})
        self.assertEqual(set(enabled), {FastPath.QUESTIONS, FastPath.CALLERS})

    def test_unknown(self) -> None:
        """A name that is none is an error that lists all names."""
        error = self.assertRaises(ValueError, enabled_paths, {"DEVLXD_SLOW": "all"})
        self.assertEqual(
            str(error),
            "DEVLXD_SLOW: no fast path is called 'all'; there are questions, callers, "
            "writes, files",
        )

    def test_is_on(self) -> None:
        """A fast path is used if it is enabled."""
        self.patch(fast_paths, "enabled", {FastPath.FILES})
        self.assertTrue(is_on(FastPath.FILES))
        self.assertFalse(is_on(FastPath.WRITES))
