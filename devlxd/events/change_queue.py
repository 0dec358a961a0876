# -*- test-case-name: tests.events.test_bus -*-
"""The changes of one container, in turns: a huge one does not keep others waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from twisted.logger import Logger

from devlxd.interfaces import ITurn, ITurns
from devlxd.model import Container

#: Returned by ``next()`` when a change is done.
_DONE = object()


class ChangeQueue:
    """Works on the changes of one container, one after the other.

    :param container: the container's name.
    :param turns: give turns to the container.
    :param work: works on one change: gets the new snapshot, or ``None`` if the
        container was removed, and yields whenever others should have their turns.
    :param ended: called after the work on the removal.
    :ivar pending: the changes that wait for the present one.
    """

    _log = Logger()

    def __init__(
        self,
        container: str,
        turns: ITurns,
        work: Callable[[Container | None], Iterator[None]],
        ended: Callable[[], None],
    ) -> None:
        self._container = container
        self._turns = turns
        self._work: Callable[[Container | None], Iterator[None]] | None = work
        self._ended: Callable[[], None] | None = ended
        self._steps: Iterator[None] | None = None
        self._turn: ITurn | None = None
        self.pending: deque[Container | None] = deque()

    def add(self, new: Container | None) -> None:
        """Work on a change after those before it: at once, if it is not a huge one.

        A snapshot that waits is replaced by the next one: however fast a container
        changes, one change waits at most, and its removal.
        """
        if new is not None and self._turn is not None and self.pending:
            self.pending.pop()
        self.pending.append(new)
        if self._steps is None and self._work is not None:
            self._steps = self._steps_of(self._work)
            self._step()

    def cancel(self) -> None:
        """Work on no change any more."""
        if self._turn is not None:
            self._turn.cancel()
        # What these refer to refers to this queue.
        self._steps = self._turn = self._work = self._ended = None

    def _step(self) -> None:
        self._turn = None
        if next(self._steps or iter(()), _DONE) is _DONE:
            self._steps = None
        else:
            self._turn = self._turns.take(self._container, self._step)

    def _steps_of(
        self, work: Callable[[Container | None], Iterator[None]]
    ) -> Iterator[None]:
        while self.pending:
            new = self.pending.popleft()
            try:
                yield from work(new)
            except Exception:
                self._log.failure(
                    "cannot make the events of a change of {container}; devlxd makes "
                    "them with those of its next change",
                    container=self._container,
                )
            if new is None:
                ended = self._ended
                self.cancel()
                if ended is not None:
                    ended()
