# -*- test-case-name: tests.testing.test_fake_devlxd -*-
"""The reactor of a server in memory."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakSet

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from devlxd.testing.reactor import MemoryDevLXDReactor


class ServerReactor(MemoryDevLXDReactor):
    """A reactor in memory with the time of another one.

    :param time: the other one.
    """

    def __init__(self, time: IReactorTime) -> None:
        super().__init__()
        self._time = time
        self._scheduled: WeakSet[IDelayedCall] = WeakSet()

    def has_scheduled(self, call: IDelayedCall) -> bool:
        """Return whether a delayed call is one of this reactor."""
        return call in self._scheduled

    def seconds(self) -> float:
        """See `IReactorTime.seconds`."""
        return self._time.seconds()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        """See `IReactorTime.callLater`."""
        call = self._time.callLater(delay, callable, *args, **kw)
        self._scheduled.add(call)
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """See `IReactorTime.getDelayedCalls`."""
        return [call for call in self._scheduled if call.active()]
