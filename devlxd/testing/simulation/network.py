# -*- test-case-name: tests.testing.test_network -*-
"""Connections between a guest and a server in memory, and the time of both."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IReactorTime,
)
from twisted.internet.task import Clock
from zope.interface import implementer

from devlxd.model import Caller
from devlxd.testing.simulation.transport import MemoryTransport, connected_pair


@implementer(IReactorTime)
class MemoryNetwork:
    """Connections in memory, and the time of what they connect.

    Data is delivered by `pump`, and by ``clock`` whenever it advances, even by 0
    seconds. As in a real network, a protocol never receives data while it writes.

    Calls of `callLater` without a delay are run by `pump`, too. Others are those of
    ``clock``.

    :param clock: the time.
    :param advances: whether `pump` also runs the due calls of ``clock``. Only a test
        may pump then, never the program that it tests.
    """

    def __init__(self, clock: Clock, *, advances: bool = False) -> None:
        self._clock = clock
        self._advances = advances
        self._immediate = Clock()
        self._transports: list[MemoryTransport] = []
        self._pumping = False
        self._scheduled: IDelayedCall | None = None

    @property
    def transports(self) -> list[MemoryTransport]:
        """The open ends of all connections: the client's and the server's of each."""
        return [one for one in self._transports if one.is_open]

    def connect(self, client: IProtocol, server: IProtocol, caller: Caller) -> None:
        """Connect two protocols.

        :param caller: who is at the client's end.
        """
        near, far = connected_pair(client, server, caller, self._changed)
        self._transports = [*self.transports, near, far]
        server.makeConnection(far)
        client.makeConnection(near)

    def pump(self) -> None:
        """Deliver all data, until nothing more is written."""
        if self._pumping:
            return
        self._unschedule()
        self._pumping = True
        try:
            while self._deliver() or self._run_immediate():
                pass
        finally:
            self._pumping = False

    def seconds(self) -> float:
        """See `IReactorTime.seconds`."""
        return self._clock.seconds()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        """See `IReactorTime.callLater`."""
        if delay > 0:
            return self._clock.callLater(delay, callable, *args, **kw)
        call = self._immediate.callLater(0, callable, *args, **kw)
        self._changed()
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """See `IReactorTime.getDelayedCalls`."""
        return [*self._immediate.getDelayedCalls(), *self._clock.getDelayedCalls()]

    def _deliver(self) -> bool:
        delivered = [transport.deliver() for transport in self.transports]
        return any(delivered)

    def _run_immediate(self) -> bool:
        """Run what is due; return whether anything was."""
        calls = list(self._immediate.getDelayedCalls())
        self._immediate.advance(0)
        if self._advances:
            now = self._clock.seconds()
            clocked = self._clock.getDelayedCalls()
            calls += [call for call in clocked if call.getTime() <= now]
            self._clock.advance(0)
        return bool(calls)

    def _changed(self) -> None:
        """Pump soon, as there is something to deliver or to call."""
        if not self._pumping and self._scheduled is None:
            self._scheduled = self._clock.callLater(0, self._pump_scheduled)

    def _pump_scheduled(self) -> None:
        self._scheduled = None
        self.pump()

    def _unschedule(self) -> None:
        scheduled, self._scheduled = self._scheduled, None
        if scheduled is not None:
            scheduled.cancel()
