# -*- test-case-name: tests.peers.test_identifier -*-
"""Peer -> caller, without any check (``--assume``)."""

from __future__ import annotations

from attrs import field, frozen
from zope.interface import implementer

from devlxd.interfaces import ICallerIdentifier, IExplainer, IRunObserver
from devlxd.model import Caller, Explanation, Peer, Result, Step


@implementer(ICallerIdentifier, IExplainer)
@frozen
class AssumedIdentifier:
    """An identifier that treats every peer as root of one container (``--assume``).

    :ivar container: the name of that container.
    """

    container: str
    _observers: list[IRunObserver] = field(factory=list, init=False, eq=False)

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        return Caller(self.container, uid=0)

    def explain(self, pid: int) -> Explanation:
        """See `IExplainer.explain`; no process is examined."""
        detail = f"every caller is root of {self.container}: devlxd has --assume"
        step = Step("assumed", Result.PASSED, detail)
        return Explanation(pid, (step,), self.container, uid=0)

    def watch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.watch`; no observer is notified, as no run ends."""
        self._observers.append(observer)

    def unwatch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.unwatch`."""
        self._observers.remove(observer)
