"""Tests of `devlxd.host.garbage_collection`."""

from __future__ import annotations

import gc

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host.garbage_collection import disable_gc_until


class DisableGCTests(SynchronousTestCase):
    """Garbage collection is disabled while containers are loaded."""

    def setUp(self) -> None:
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.enable)
        self.loaded: Deferred[None] = Deferred()
        disable_gc_until(self.loaded)
        self.assertFalse(gc.isenabled())

    def test_loaded(self) -> None:
        """Garbage collection is enabled when all containers are loaded."""
        self.loaded.callback(None)
        self.assertTrue(gc.isenabled())

    def test_failed(self) -> None:
        """When loading fails, collection is enabled; the failure is passed on."""
        self.loaded.errback(ZeroDivisionError())
        self.assertTrue(gc.isenabled())
        self.failureResultOf(self.loaded, ZeroDivisionError)
