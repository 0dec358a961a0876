# -*- test-case-name: tests.etcd.test_memory_etcd -*-
"""Recording what a watch of etcd sends."""

from __future__ import annotations

from attrs import define, field
from zope.interface import implementer

from devlxd.etcd.errors import EtcdError
from devlxd.etcd.interfaces import IWatchReceiver
from devlxd.etcd.messages import WatchLine


@implementer(IWatchReceiver)
@define
class RecordingWatchReceiver:
    """A receiver that records what a watch sends.

    :ivar lines: all lines.
    :ivar error: why the watch has ended; ``None`` while it has not.
    """

    lines: list[WatchLine] = field(factory=list)
    error: EtcdError | None = None

    def received(self, line: WatchLine) -> None:
        """See `IWatchReceiver.received`."""
        self.lines.append(line)

    def ended(self, error: EtcdError) -> None:
        """See `IWatchReceiver.ended`."""
        self.error = error

    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """Return the keys and the values of all events; ``None`` for removals."""
        return [
            (event.kv.key, event.kv.value)
            for line in self.lines
            for event in line.events
        ]
