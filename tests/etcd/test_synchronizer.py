"""Tests of `devlxd.etcd.synchronizer` with a target that records its calls."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from devlxd.etcd.changes import Change
from devlxd.etcd.interfaces import ISyncTarget
from devlxd.etcd.replica import Known
from devlxd.etcd.synchronizer import Synchronizer
from devlxd.testing import MemoryEtcd


@implementer(ISyncTarget)
class _Target:
    """Records its calls, and receives nothing more after a list."""

    synchronizer: Synchronizer

    def __init__(self) -> None:
        self.calls: list[str] = []

    def changed(self, changes: Sequence[Change]) -> None:
        """See `ISyncTarget.changed`."""
        self.calls += [f"changed {change.key.decode()}" for change in changes]

    def resumed(self) -> None:
        """See `ISyncTarget.resumed`."""
        self.calls.append("resumed")

    def listed(self, changes: Sequence[Change]) -> None:
        """See `ISyncTarget.listed`."""
        self.calls.append(f"listed {len(changes)}")
        self.synchronizer.valve.close()

    def confirmed(self, endpoint: str, since: float) -> None:
        """See `ISyncTarget.confirmed`."""
        self.calls.append("confirmed")

    def away(self, problem: str) -> None:
        """See `ISyncTarget.away`."""
        self.calls.append(f"away {problem}")


class SynchronizerTests(SynchronousTestCase):
    """Following a prefix."""

    def test_long_list(self) -> None:
        """A list that takes long to process is no failure of the member.

        The watch begins afterwards, and no change is lost.
        """
        clock, target = Clock(), _Target()
        etcd = MemoryEtcd(clock)
        etcd.put("/h1/a", "1")
        target.synchronizer = Synchronizer(
            [etcd.member()], "/h1/", clock, target, lambda: 1024
        )
        target.synchronizer.start(Known())
        self.addCleanup(target.synchronizer.stop)
        clock.pump([0.5] * 60)
        etcd.put("/h1/b", "1")
        self.assertEqual(target.calls, ["listed 1"])
        target.synchronizer.valve.open()
        clock.pump([0.5] * 4)
        self.assertEqual(target.calls[:3], ["listed 1", "changed b", "confirmed"])
