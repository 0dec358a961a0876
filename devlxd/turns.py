# -*- test-case-name: tests.test_turns -*-
"""Turns round robin by owner: no container gets more of the reactor than another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator
from typing import TypeAlias, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import ITurn, ITurns

T = TypeVar("T")

#: What is done in slices: it yields between them, and returns the result.
Slices: TypeAlias = Generator[None, None, T]

#: For how long turns are taken before the reactor does something else, in
#: seconds.
SLICE = 0.002


@implementer(ITurn)
class _Turn:
    """One piece of work that waits."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work

    def cancel(self) -> None:
        """See `ITurn.cancel`."""
        self.work = None


def finish(slices: Slices[T]) -> T:
    """Do all slices at once, and return their result."""
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            result: T = stop.value
            return result


def cooperator(
    reactor: IReactorTime, seconds: float, now: Callable[[], float] = time.perf_counter
) -> Cooperator:
    """Make a Cooperator that works in slices, when nothing else is to be done.

    :param reactor: does what else there is.
    :param seconds: how long a slice is.
    :param now: tells the time, in seconds, from no point in particular.
    """

    def slice_end() -> Callable[[], bool]:
        end = now() + seconds
        return lambda: now() >= end

    return Cooperator(
        terminationPredicateFactory=slice_end,
        scheduler=lambda work: reactor.callLater(0, work),
    )


@implementer(ITurns)
class Turns:
    """Gives turns: first to each owner one, then to each the next.

    :param reactor: when nothing else is to be done, it is time for a slice.
    :param now: tells the time, in seconds, from no point in particular.
    """

    _log = Logger()

    def __init__(
        self, reactor: IReactorTime, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._waiting: dict[Hashable, deque[_Turn]] = {}
        self._cooperator = cooperator(reactor, SLICE, now)

    def take(self, owner: Hashable, work: Callable[[], None]) -> ITurn:
        """See `ITurns.take`."""
        turn = _Turn(work)
        waiting = self._waiting.get(owner)
        if waiting is None:
            waiting = self._waiting[owner] = deque((turn,))
            self._cooperator.cooperate(self._turns_of(owner, waiting))
        else:
            waiting.append(turn)
        return turn

    def waiting(self, owner: Hashable) -> int:
        """See `ITurns.waiting`."""
        return len(self._waiting.get(owner, ()))

    def _turns_of(self, owner: Hashable, waiting: deque[_Turn]) -> Iterator[None]:
        while waiting:
            turn = waiting.popleft()
            work, turn.work = turn.work, None
            if work is None:
                continue
            try:
                work()
            except Exception:
                self._log.failure("a turn of {owner} failed", owner=owner)
            yield
        del self._waiting[owner]
