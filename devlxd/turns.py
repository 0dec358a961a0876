# -*- test-case-name: tests.test_turns -*-
"""Round-robin scheduling by owner: no container delays the others.

Long work is divided into turns of a few milliseconds. The scheduler runs one turn
of each owner, then the next turn of each, and so on: an owner with thousands of
turns delays an owner with one turn by one turn only.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator
from functools import partial
from typing import TypeAlias, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import ITurn, ITurns

T = TypeVar("T")

#: A generator that does some work in slices: it yields between them, and returns
#: the result.
Slices: TypeAlias = Generator[None, None, T]

#: For how long turns run before the reactor continues, in seconds.
SLICE = 0.002


@implementer(ITurn)
class _Turn:
    """A turn that has been requested.

    :ivar work: what to call in the turn; ``None`` once it has begun or is cancelled.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work

    def cancel(self) -> None:
        """See `ITurn.cancel`."""
        self.work = None


def finish(slices: Slices[T]) -> T:
    """Run all slices without a pause, and return their result."""
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            result: T = stop.value
            return result


def cooperator(
    reactor: IReactorTime, seconds: float, now: Callable[[], float] = time.perf_counter
) -> Cooperator:
    """Return a `Cooperator` that works in slices, between other calls of the reactor.

    :param reactor: calls the cooperator.
    :param seconds: the length of a slice.
    :param now: returns the time in seconds, from an arbitrary start.
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
    """A round-robin scheduler on a reactor.

    :param reactor: calls the scheduler for slices of `SLICE` seconds.
    :param now: returns the time in seconds, from an arbitrary start.
    """

    _log = Logger()

    def __init__(
        self, reactor: IReactorTime, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._pending: dict[Hashable, deque[_Turn]] = {}
        self._new_cooperator = partial(cooperator, reactor, SLICE, now)
        self._cooperator = self._new_cooperator()

    def take(self, owner: Hashable, work: Callable[[], None]) -> ITurn:
        """See `ITurns.take`."""
        turn = _Turn(work)
        pending = self._pending.get(owner)
        if pending is None:
            pending = self._pending[owner] = deque((turn,))
            self._cooperator.cooperate(self._run_turns(owner, pending))
        else:
            pending.append(turn)
        return turn

    def waiting(self, owner: Hashable) -> int:
        """See `ITurns.waiting`."""
        return len(self._pending.get(owner, ()))

    def stop(self) -> None:
        """Cancel all pending turns, and the call of the reactor.

        Turns that are taken later are pending turns as before.
        """
        self._cooperator.stop()
        self._pending.clear()
        self._cooperator = self._new_cooperator()

    def _run_turns(self, owner: Hashable, pending: deque[_Turn]) -> Iterator[None]:
        while pending:
            turn = pending.popleft()
            work, turn.work = turn.work, None
            if work is None:
                continue
            try:
                work()
            except Exception:
                self._log.failure(
                    "a turn of {owner} failed; its other turns continue", owner=owner
                )
            yield
        del self._pending[owner]
