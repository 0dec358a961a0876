# -*- test-case-name: tests.etcd.test_memory_etcd -*-
"""The contract of `IEtcdGateway`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from devlxd.etcd.errors import OUT_OF_RANGE, EtcdError, TooLargeError
from devlxd.etcd.interfaces import IEtcdGateway, IWatch
from devlxd.etcd.messages import KeyRange, RangeAnswer, RangeRequest
from devlxd.testing.watch_receivers import RecordingWatchReceiver

if TYPE_CHECKING:
    _Base = TestCase
else:
    # See `devlxd.testing.contracts.base`.
    _Base = object

_PREFIX = "/contract/"
_KEYS = KeyRange.of_prefix(_PREFIX)

#: Longer than any answer of these tests, in bytes.
_LARGE = 1024 * 1024


class EtcdGatewayContract(_Base):
    """Tests of a member of etcd. They are coroutines.

    Override all hooks. The keys that begin with ``/contract/`` belong to a test.
    """

    gateway: IEtcdGateway

    def make_gateway(self) -> IEtcdGateway:
        """Hook: return a gateway to an etcd without keys that begin as above."""
        raise NotImplementedError

    async def change(self, changes: Mapping[str, str | None]) -> None:
        """Hook: put and remove keys in one transaction; ``None`` removes."""
        raise NotImplementedError

    async def compact(self, revision: int) -> None:
        """Hook: compact the changes before a revision."""
        raise NotImplementedError

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Hook: let the gateway work until a condition is true; fail if it stays."""
        raise NotImplementedError

    def setUp(self) -> None:
        """See `TestCase.setUp`. Makes the gateway."""
        self.gateway = self.make_gateway()

    async def put(self, name: str, value: str) -> None:
        """Put a key of the test."""
        await self.change({f"{_PREFIX}{name}": value})

    async def ask(
        self,
        keys: KeyRange = _KEYS,
        limit: int = 0,
        revision: int = 0,
        min_mod_revision: int = 0,
        keys_only: bool = False,
        max_size: int = _LARGE,
    ) -> RangeAnswer:
        """Ask for keys of the test."""
        request = RangeRequest(keys, limit, revision, min_mod_revision, keys_only)
        return await self.gateway.range(request, max_size, 5)

    def watch(self, start_revision: int) -> tuple[IWatch, RecordingWatchReceiver]:
        """Watch the keys of the test."""
        receiver = RecordingWatchReceiver()
        watch = self.gateway.watch(_KEYS, start_revision, _LARGE, receiver)
        self.addCleanup(watch.stop)
        self.assertEqual(receiver.lines, [])
        return watch, receiver

    async def test_interface(self) -> None:
        """The gateway provides `IEtcdGateway`."""
        self.assertTrue(verifyObject(IEtcdGateway, self.gateway))
        await self.gateway.close()

    async def test_range(self) -> None:
        """All keys of the range are listed in their order, and no others."""
        await self.change({f"{_PREFIX}b": "2", f"{_PREFIX}a": "", "/contracu": "3"})
        await self.put("b", "4")
        answer = await self.ask()
        found = [(kv.key, kv.value) for kv in answer.kvs]
        self.assertEqual(found, [(b"/contract/a", b""), (b"/contract/b", b"4")])
        first, second = answer.kvs
        self.assertEqual(second.create_revision, first.create_revision)
        self.assertEqual(second.mod_revision, first.mod_revision + 1)
        self.assertEqual(answer.revision, second.mod_revision)
        self.assertEqual((answer.count, answer.more), (2, False))

    async def test_pages(self) -> None:
        """Pages are of one revision, also if there are changes meanwhile."""
        for name in ("a", "b", "c"):
            await self.put(name, "1")
        first = await self.ask(limit=2)
        self.assertEqual((len(first.kvs), first.count, first.more), (2, 3, True))
        await self.put("c", "2")
        rest = await self.ask(_KEYS.after(first.kvs[-1].key), revision=first.revision)
        self.assertEqual([kv.value for kv in rest.kvs], [b"1"])
        self.assertEqual((rest.more, rest.revision), (False, first.revision + 1))

    async def test_min_mod_revision(self) -> None:
        """Only keys that have changed are listed, but all are counted."""
        await self.put("a", "1")
        revision = (await self.ask()).revision
        await self.put("b", "1")
        answer = await self.ask(min_mod_revision=revision + 1, keys_only=True)
        self.assertEqual([kv.key for kv in answer.kvs], [b"/contract/b"])
        self.assertEqual([kv.value for kv in answer.kvs], [None])
        self.assertEqual(answer.count, 2)

    async def test_too_large(self) -> None:
        """A longer answer than allowed is refused as that."""
        await self.put("a", "1" * 5000)
        with self.assertRaises(TooLargeError):
            await self.ask(max_size=4000)
        self.assertEqual(len((await self.ask(keys_only=True, max_size=4000)).kvs), 1)

    async def test_compacted_range(self) -> None:
        """A revision that was compacted is an error with a code."""
        await self.put("a", "1")
        await self.put("a", "2")
        revision = (await self.ask()).revision
        await self.compact(revision)
        with self.assertRaises(EtcdError) as raised:
            await self.ask(revision=revision - 1)
        self.assertEqual(raised.exception.code, OUT_OF_RANGE)

    async def test_watch(self) -> None:
        """Changes are received in their order, those before the watch included."""
        await self.put("a", "1")
        revision = (await self.ask()).revision
        await self.put("a", "2")
        watch, receiver = self.watch(revision + 1)
        await self.wait_until(lambda: len(receiver.changes()) == 1)
        self.assertTrue(receiver.lines[0].is_created)
        await self.change({f"{_PREFIX}a": None, f"{_PREFIX}b": "3"})
        await self.wait_until(lambda: len(receiver.changes()) == 3)
        self.assertGreater(watch.received_bytes(), 0)
        self.assertEqual(receiver.changes()[0], (b"/contract/a", b"2"))
        expected = {(b"/contract/a", None), (b"/contract/b", b"3")}
        self.assertEqual({*receiver.changes()[1:]}, expected)
        last = receiver.lines[-1].events
        self.assertEqual({event.kv.mod_revision for event in last}, {revision + 2})
        self.assertIsNone(receiver.error)

    async def test_compacted_watch(self) -> None:
        """A watch of what was compacted is canceled, and names what still is there."""
        await self.put("a", "1")
        first = (await self.ask()).revision
        for value in ("2", "3"):
            await self.put("a", value)
        await self.compact(first + 2)
        _, receiver = self.watch(first + 1)
        await self.wait_until(lambda: any(one.is_canceled for one in receiver.lines))
        self.assertEqual(receiver.lines[-1].compact_revision, first + 2)
        self.assertEqual(receiver.changes(), [])

    async def test_stopped_watch(self) -> None:
        """A watch that was stopped sends nothing, and does not end by itself."""
        start = (await self.ask()).revision + 1
        stopped, receiver = self.watch(start)
        _, other = self.watch(start)
        await self.wait_until(lambda: bool(receiver.lines and other.lines))
        stopped.stop()
        stopped.stop()
        await self.put("a", "1")
        await self.wait_until(lambda: len(other.changes()) == 1)
        self.assertEqual((receiver.changes(), receiver.error), ([], None))

    async def test_stopped_at_once(self) -> None:
        """A watch may be stopped before it has begun."""
        watch, receiver = self.watch((await self.ask()).revision + 1)
        watch.stop()
        await self.put("a", "1")
        await self.ask()
        self.assertEqual((receiver.lines, receiver.error), ([], None))

    async def test_paused_watch(self) -> None:
        """A watch that was paused loses nothing."""
        watch, receiver = self.watch((await self.ask()).revision + 1)
        watch.pause()
        watch.pause()
        for value in ("1", "2"):
            await self.put("a", value)
        await self.ask()
        watch.resume()
        watch.resume()
        await self.wait_until(lambda: len(receiver.changes()) == 2)
        values = [value for _, value in receiver.changes()]
        self.assertEqual(values, [b"1", b"2"])
