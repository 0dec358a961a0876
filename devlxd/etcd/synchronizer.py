# -*- test-case-name: tests.containers.test_etcd_store -*-
"""Following the keys below a prefix, over losses of the connection.

All keys are listed, and watched from the next revision on. After each loss they are
listed again: if the list continues what is known, the watch is resumed, so that each
missed change is received in order; otherwise the list replaces what is known.

A watch that sends nothing may be dead, or may have lost a change. `Following` compares
what is known with etcd, which also shows that the member still answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from devlxd.etcd.errors import OUT_OF_RANGE, EtcdError, TooLargeError
from devlxd.etcd.following import Following, IncompleteError
from devlxd.etcd.interfaces import IEtcdGateway, ISyncTarget
from devlxd.etcd.listing import Listing
from devlxd.etcd.messages import KeyRange
from devlxd.etcd.pages import Pages, max_answer
from devlxd.etcd.replica import Known, Replica
from devlxd.etcd.session import CompactedError
from devlxd.etcd.valve import Valve

#: The shortest and the longest time between two attempts when no member answers, in
#: seconds.
SHORTEST_PAUSE = 0.25
LONGEST_PAUSE = 5.0


class Synchronizer:
    """Follows the keys below a prefix.

    :param gateways: the members of etcd.
    :param prefix: what the keys begin with.
    :param reactor: for pauses.
    :param target: is notified of everything.
    :param max_value: returns the maximum length of a value, in bytes. A longer one is
        ``None`` in its change.
    :param random: returns numbers from 0 to 1.
    :ivar replica: what is known.
    :ivar valve: pauses what etcd sends.
    """

    _log = Logger()

    def __init__(
        self,
        gateways: Sequence[IEtcdGateway],
        prefix: str,
        reactor: IReactorTime,
        target: ISyncTarget,
        max_value: Callable[[], int],
        random: Callable[[], float] = random.random,
    ) -> None:
        self._gateways = gateways
        self._keys = KeyRange.of_prefix(prefix)
        self._prefix = prefix
        self._reactor = reactor
        self._target = target
        self._max_value = max_value
        self._random = random
        self._running: Deferred[None] | None = None
        self._is_stopped = False
        self._reset(Known())

    def _reset(self, known: Known) -> None:
        self.replica = Replica(self._keys.start, known)
        self.valve = Valve()
        self._index = 0
        # The attempts since the last watch that held, and the comparisons of this one.
        self._failures = self._confirmations = 0
        # Why the next list replaces what is known, even if it continues it.
        self._must_take = not known.is_exact
        # Whether a change seems to be missing in what is known.
        self._is_incomplete = False
        # Why the members have not answered since one has.
        self._problems: dict[str, str] = {}
        self._following: Following | None = None

    def start(self, known: Known) -> None:
        """Begin to follow the keys.

        :param known: what is known; the target knows it already.
        """
        self._reset(known)
        self._is_stopped = False
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(lambda failure: failure.trap(CancelledError))

    def stop(self) -> None:
        """End at once; the target is not notified any more."""
        self._is_stopped = True
        if self._running is not None:
            self._running.cancel()

    def reread(self) -> None:
        """Pass on all keys again, also those that have not changed, if etcd answers."""
        if self._following is not None:
            self._following.reread()

    async def _run(self) -> None:
        while True:
            gateway = self._gateways[self._index]
            try:
                await self._follow(gateway)
            except EtcdError as error:
                if self._is_stopped:
                    return
                self._lost(gateway, error)
            except CancelledError:
                raise
            except Exception:
                self._log.failure(
                    "following {prefix} of etcd failed; devlxd begins again",
                    prefix=self._prefix,
                )
                self._failures += 1
            await deferLater(self._reactor, self._pause(), lambda: None)

    def _pause(self) -> float:
        """Return the time until the next attempt, in seconds."""
        rounds = self._failures // len(self._gateways)
        if not rounds or self._failures % len(self._gateways):
            # The next member is asked soon, but not by all hosts at the same time.
            return 0.1 * self._random()
        longest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(rounds - 1, 10))
        return longest * (0.5 + 0.5 * self._random())

    def _lost(self, gateway: IEtcdGateway, error: EtcdError) -> None:
        """Note why a member was lost, and select the next one."""
        confirmations, self._confirmations = self._confirmations, 0
        if confirmations < 2:
            self._failures += 1
        if isinstance(error, IncompleteError):
            # The watch may be dead: it is resumed once, which delivers each change.
            self._must_take = self._must_take or self._is_incomplete
            self._is_incomplete = True
        elif isinstance(error, (CompactedError, TooLargeError)):
            # A list has what a watch cannot send.
            self._must_take = True
            return
        elif confirmations:
            self._problems.clear()
        else:
            self._problems[gateway.endpoint] = str(error)
        self._index = (self._index + 1) % len(self._gateways)
        if len(self._problems) == len(self._gateways):
            texts = (f"{at}: {problem}" for at, problem in self._problems.items())
            self._target.away("; ".join(texts))

    def _confirmed(self, gateway: IEtcdGateway, since: float) -> None:
        self._confirmations += 1
        if self._confirmations > 1:
            self._failures = 0
        self._is_incomplete = False
        self._problems.clear()
        self._target.confirmed(gateway.endpoint, since)

    async def _follow(self, gateway: IEtcdGateway) -> None:
        """List all keys, and follow a watch until it is lost.

        :raises EtcdError: why it is lost.
        """
        self._decide(gateway, await self._list(gateway))
        following = Following(
            gateway,
            self._keys,
            self.replica,
            self._target.changed,
            lambda since: self._confirmed(gateway, since),
            self._reactor,
            self.valve,
            self._max_answer(),
            self._random,
        )
        self._following = following
        try:
            await following.run()
        finally:
            self._following = None

    def _decide(self, gateway: IEtcdGateway, listing: Listing) -> None:
        """Resume, or replace what is known by a list.

        :raises EtcdError: if it is from another cluster, while other members may be of
            the same one.
        """
        if listing.is_other_cluster and not self._is_last(gateway):
            raise EtcdError("it is another cluster than before")
        reason = listing.other_history(self._is_incomplete)
        if reason:
            self._log.warn(
                "etcd has another history than before: {reason}; devlxd takes all keys "
                "of {prefix} as they are",
                reason=reason,
                prefix=self._prefix,
            )
        elif self._is_incomplete and (self._must_take or listing.contradicts):
            self._must_take = True
            self._log.warn(
                "etcd at {endpoint} has not sent all changes of {prefix}; devlxd takes "
                "all keys as they are",
                endpoint=gateway.endpoint,
                prefix=self._prefix,
            )
        if reason or self._must_take:
            changes = listing.take(is_same_history=not reason)
            self._must_take = self._is_incomplete = False
            self._target.listed(changes)
        else:
            self._target.resumed()

    def _is_last(self, gateway: IEtcdGateway) -> bool:
        """Return whether no other member has answered since one did."""
        others = {other.endpoint for other in self._gateways} - {gateway.endpoint}
        return others <= self._problems.keys()

    async def _list(self, gateway: IEtcdGateway) -> Listing:
        for _ in range(2):
            try:
                return await self._list_once(gateway)
            except EtcdError as error:
                # The revision of the first page was compacted meanwhile.
                if error.code != OUT_OF_RANGE:
                    raise
        return await self._list_once(gateway)

    async def _list_once(self, gateway: IEtcdGateway) -> Listing:
        pages = Pages(self._keys, self._max_answer())
        first = await pages.next(gateway)
        listing = Listing(self.replica, first)
        listing.add(first.kvs)
        while not pages.is_complete:
            await self.valve.opened()
            listing.add((await pages.next(gateway)).kvs)
        return listing

    def _max_answer(self) -> int:
        return max_answer(self._max_value())
