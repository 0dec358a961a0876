# -*- test-case-name: tests.host.test_garbage_collection -*-
"""Disabling Python's garbage collector while containers are loaded."""

from __future__ import annotations

import gc
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_T = TypeVar("_T")


def disable_gc_until(loaded: Deferred[_T]) -> None:
    """Disable garbage collection until ``loaded`` fires, with a result or a failure.

    While snapshots are loaded, the collector would traverse all of them again and
    again, which delays guests. It would free nothing: snapshots are in no reference
    cycle, so reference counting frees the ones that are replaced. Afterwards all
    objects that exist are frozen (`gc.freeze`): the collector ignores them.
    """
    gc.disable()

    def enable(result: _T | Failure) -> _T | Failure:
        gc.freeze()
        gc.enable()
        return result

    loaded.addBoth(enable)
