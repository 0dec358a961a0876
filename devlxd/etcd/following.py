# -*- test-case-name: tests.containers.test_etcd_store -*-
"""Following one watch: receiving changes, and comparing what is known with etcd."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from devlxd.etcd.changes import Change
from devlxd.etcd.comparison import Comparison, doubtful_keys
from devlxd.etcd.errors import EtcdError
from devlxd.etcd.interfaces import IEtcdGateway, IWatch
from devlxd.etcd.messages import KeyRange, KeyValue, WatchEvent
from devlxd.etcd.pages import MAX_PAGE, Pages
from devlxd.etcd.replica import Replica
from devlxd.etcd.session import Session
from devlxd.etcd.valve import Valve

#: The time between two comparisons, in seconds, and the part of it that is random, so
#: that many hosts do not ask at the same time.
INTERVAL = 8.0
_RANDOM_PART = 0.25

#: How long a member may take to begin a watch, and to answer a comparison, in seconds.
TIMEOUT = 5.0

#: How long a change may be on its way, in seconds.
SECOND_LOOK = 1.0

#: The number of comparisons after which the next one is of all keys.
THOROUGH = 40


class IncompleteError(EtcdError):
    """Raised when a change has not arrived."""


class Following:
    """One watch at one member.

    :param gateway: the member.
    :param keys: the range of the keys.
    :param replica: what is known; the watch continues it.
    :param changed: called with changes.
    :param confirmed: called when etcd has confirmed what is known, with the time of the
        question.
    :param reactor: for pauses.
    :param valve: pauses the watch.
    :param max_line: the maximum length of a line, in bytes.
    :param random: returns numbers from 0 to 1.
    """

    def __init__(
        self,
        gateway: IEtcdGateway,
        keys: KeyRange,
        replica: Replica,
        changed: Callable[[Sequence[Change]], None],
        confirmed: Callable[[float], None],
        reactor: IReactorTime,
        valve: Valve,
        max_line: int,
        random: Callable[[], float],
    ) -> None:
        self._gateway = gateway
        self._keys = keys
        self._replica = replica
        self._changed = changed
        self._confirmed = confirmed
        self._reactor = reactor
        self._valve = valve
        self._max_line = max_line
        self._random = random
        self._session = Session(self._received, lambda: replica.revision)
        self._rereads = False
        self._watch: IWatch | None = None
        self._pause: Deferred[None] | None = None
        self._compared = 0

    def _received(self, events: tuple[WatchEvent, ...], is_fragment: bool) -> None:
        changes = self._replica.apply(events, is_fragment)
        if changes:
            self._changed(changes)

    def reread(self) -> None:
        """Pass on all keys again, also those that have not changed."""
        self._rereads = True
        if self._pause is not None and not self._pause.called:
            self._pause.callback(None)

    async def run(self) -> None:
        """Follow the watch until it is lost.

        :raises EtcdError: why it is lost.
        """
        # A watch that is paused does not begin, and the member would seem to hang.
        await self._valve.opened()
        watch = self._watch = self._gateway.watch(
            self._keys, self._replica.revision + 1, self._max_line, self._session
        )
        self._valve.attach(watch)
        try:
            created = self._session.created()
            created.addTimeout(TIMEOUT, self._reactor, _not_begun)
            await self._session.wait(created)
            await self._compare()
            await self._sleep(SECOND_LOOK)
            while True:
                await self._compare()
                await self._sleep(
                    INTERVAL * (1 - _RANDOM_PART + _RANDOM_PART * self._random())
                )
        finally:
            self._valve.attach(None)
            watch.stop()

    async def _sleep(self, seconds: float) -> None:
        """Wait until the next comparison, and pass on all keys if that is wanted."""
        end = self._reactor.seconds() + seconds
        while (left := end - self._reactor.seconds()) > 0:
            if self._rereads:
                self._rereads = False
                await self._reread()
                continue
            self._pause = waking = Deferred[None]()
            call = self._reactor.callLater(left, waking.callback, None)
            try:
                await self._session.wait(waking)
            finally:
                self._pause = None
                if call.active():
                    call.cancel()

    async def _compare(self) -> None:
        """Compare what is known with etcd.

        :raises IncompleteError: if a change has not arrived.
        :raises EtcdError: if etcd does not answer.
        """
        self._compared += 1
        if self._compared % THOROUGH == 0:
            await self._compare_all()
            return
        began = self._reactor.seconds()
        comparison = Comparison(self._replica, self._keys)
        try:
            asking = self._gateway.range(comparison.request, MAX_PAGE, TIMEOUT)
            answer = await self._session.wait(asking)
            while not comparison.is_confirmed(answer):
                is_over = await self._wait(answer.revision)
                if is_over and not comparison.is_confirmed(answer):
                    raise IncompleteError("a change has not arrived")
        finally:
            comparison.close()
        self._confirmed(began)

    async def _compare_all(self) -> None:
        """Compare the revisions of all keys: a lost change may show nowhere else."""
        began = self._reactor.seconds()
        doubtful, revision = await self._doubtful()
        while doubtful:
            is_over = await self._wait(revision)
            # A key that has changed again meanwhile is not missing.
            doubtful &= (await self._doubtful())[0]
            if doubtful and is_over:
                raise IncompleteError("a change has not arrived")
        self._confirmed(began)

    async def _doubtful(self) -> tuple[set[tuple[bytes, int]], int]:
        """List all keys; return those that differ, and the revision of the list."""
        pages = Pages(self._keys, MAX_PAGE, keys_only=True)
        kvs: list[KeyValue] = []
        while not pages.is_complete:
            kvs += await self._page(pages)
        return doubtful_keys(self._replica, kvs, pages.revision), pages.revision

    async def _page(self, pages: Pages) -> tuple[KeyValue, ...]:
        """Return the keys of the next page."""
        answer = await self._session.wait(
            Deferred.fromCoroutine(pages.next(self._gateway))
        )
        return answer.kvs

    async def _wait(self, revision: int) -> bool:
        """Wait for changes; return whether all up to a revision should have arrived.

        As long as anything arrives, or changes are held up here, others may be on their
        way.
        """
        before = self._progress()
        waiting = deferLater(self._reactor, SECOND_LOOK, lambda: None)
        await self._session.wait(waiting)
        is_late = self._replica.revision >= revision
        return self._valve.is_open and (is_late or before == self._progress())

    def _progress(self) -> tuple[int, int]:
        """Return values that change while changes are received, or are held up."""
        received = 0 if self._watch is None else self._watch.received_bytes()
        return received, self._valve.pauses

    async def _reread(self) -> None:
        """Pass on each key whose value is the one that is known."""
        pages = Pages(self._keys, self._max_line)
        while not pages.is_complete:
            changes = [
                Change(key, kv, self._replica.origin_of(kv))
                for kv in await self._page(pages)
                if (held := self._replica.held.get(key := self._replica.name_of(kv)))
                and held.has_revisions_of(kv)
            ]
            if changes:
                self._changed(changes)
            await self._session.wait(self._valve.opened())


def _not_begun(result: object, seconds: float) -> None:
    raise EtcdError(f"the watch has not begun within {seconds:g} s")
