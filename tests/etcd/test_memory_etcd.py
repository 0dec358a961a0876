"""Tests of the etcd in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from devlxd.etcd.interfaces import IEtcdGateway
from devlxd.testing import MemoryEtcd
from devlxd.testing.contracts import EtcdGatewayContract


class MemoryEtcdTests(EtcdGatewayContract, TestCase):
    """The contract of a member of the etcd in memory."""

    def make_gateway(self) -> IEtcdGateway:
        """See `EtcdGatewayContract.make_gateway`."""
        self.clock = Clock()
        self.etcd = MemoryEtcd(self.clock)
        return self.etcd.member()

    async def change(self, changes: Mapping[str, str | None]) -> None:
        """See `EtcdGatewayContract.change`."""
        self.etcd.transaction(changes)

    async def compact(self, revision: int) -> None:
        """See `EtcdGatewayContract.compact`."""
        self.etcd.compact(revision)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """See `EtcdGatewayContract.wait_until`."""
        self.clock.advance(0)
        self.assertTrue(condition())
