# -*- test-case-name: tests.host.test_monotonic_clock -*-
"""Timeouts that do not depend on the wall clock."""

from __future__ import annotations

import time

from twisted.internet.base import ReactorBase

from devlxd.host.private_apis import set_clock


def use_monotonic_clock(reactor: ReactorBase) -> None:
    """Make a reactor time its delayed calls by the monotonic clock.

    By default a reactor uses the wall clock: when that is set back by an hour,
    no timeout expires for an hour. Calls that are pending already keep their
    delays.
    """
    difference = time.monotonic() - reactor.seconds()
    set_clock(reactor, time.monotonic)
    for call in reactor.getDelayedCalls():
        call.delay(difference)
