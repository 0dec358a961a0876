# -*- test-case-name: tests.events.test_bus -*-
"""The queue of the changes of one container, which are processed in turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from twisted.logger import Logger

from devlxd.interfaces import ITurn, ITurns
from devlxd.model import Container

#: The result of ``next()`` when all changes are processed.
_DONE = object()


class ChangeQueue:
    """A queue that processes the changes of one container one after the other.

    A huge change is processed in several turns, so that it does not delay other
    containers.

    :param container: the container's name.
    :param turns: schedules the turns.
    :param process: processes one change. It receives the new snapshot, or ``None`` if
        the container was removed, and yields where a turn may end.
    :param ended: called when a removal has been processed.
    :ivar pending: the changes that wait until the current one is processed.
    """

    _log = Logger()

    def __init__(
        self,
        container: str,
        turns: ITurns,
        process: Callable[[Container | None], Iterator[None]],
        ended: Callable[[], None],
    ) -> None:
        self._container = container
        self._turns = turns
        self._process: Callable[[Container | None], Iterator[None]] | None = process
        self._ended: Callable[[], None] | None = ended
        self._steps: Iterator[None] | None = None
        self._turn: ITurn | None = None
        self.pending: deque[Container | None] = deque()

    def add(self, new: Container | None) -> None:
        """Process a change, immediately unless an earlier one is being processed.

        A pending snapshot is replaced by the next one. However fast a container
        changes, at most one snapshot and one removal are pending.
        """
        if new is not None and self._turn is not None and self.pending:
            self.pending.pop()
        self.pending.append(new)
        if self._steps is None and self._process is not None:
            self._steps = self._steps_of(self._process)
            self._step()

    def cancel(self) -> None:
        """Cancel the current change, and process no further ones."""
        if self._turn is not None:
            self._turn.cancel()
        # Break the reference cycles between these objects and this queue.
        self._steps = self._turn = self._process = self._ended = None

    def _step(self) -> None:
        self._turn = None
        if next(self._steps or iter(()), _DONE) is _DONE:
            self._steps = None
        else:
            self._turn = self._turns.take(self._container, self._step)

    def _steps_of(
        self, process: Callable[[Container | None], Iterator[None]]
    ) -> Iterator[None]:
        while self.pending:
            new = self.pending.popleft()
            try:
                yield from process(new)
            except Exception:
                self._log.failure(
                    "cannot create the events of a change of {container}; devlxd "
                    "creates them with those of its next change",
                    container=self._container,
                )
            if new is None:
                ended = self._ended
                self.cancel()
                if ended is not None:
                    ended()
