# -*- test-case-name: tests.host.test_notifier -*-
"""A notifier that records, and a handover store in memory, for tests."""

from __future__ import annotations

import os
from collections.abc import Sequence

from attrs import define, evolve, field
from zope.interface import implementer

from devlxd.interfaces import IHandoverStore, INotifier
from devlxd.model import HandedOver


@implementer(INotifier)
@define
class RecordingNotifier:
    """A notifier that records its calls.

    :ivar watchdog: see `INotifier`.
    :ivar calls: the names of the methods that were called, and the texts of `status`.
    """

    watchdog: float = 0.0
    calls: list[str] = field(factory=list)

    def ready(self) -> None:
        """See `INotifier.ready`."""
        self.calls.append("ready")

    def status(self, text: str) -> None:
        """See `INotifier.status`."""
        self.calls.append(text)

    def reloading(self) -> None:
        """See `INotifier.reloading`."""
        self.calls.append("reloading")

    def stopping(self) -> None:
        """See `INotifier.stopping`."""
        self.calls.append("stopping")

    def alive(self) -> None:
        """See `INotifier.alive`."""
        self.calls.append("alive")


@implementer(IHandoverStore)
@define
class MemoryHandoverStore:
    """A store that keeps the connections of several processes of one test.

    :ivar keeps: whether `save` keeps connections.
    :ivar connections: the connections in it, with duplicates of their descriptors.
    """

    keeps: bool = True
    connections: list[HandedOver] = field(factory=list)

    def save(self, connections: Sequence[HandedOver]) -> bool:
        """See `IHandoverStore.save`."""
        if self.keeps:
            self.connections += [
                evolve(each, descriptor=os.dup(each.descriptor)) for each in connections
            ]
        return self.keeps

    def take(self) -> Sequence[HandedOver]:
        """See `IHandoverStore.take`."""
        taken, self.connections = self.connections, []
        return taken
