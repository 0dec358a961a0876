# -*- test-case-name: tests.host.test_name_queue -*-
"""Work on many names, in turns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from devlxd.interfaces import ITurn, ITurns


class NameQueue:
    """A queue of names, of which one is worked on in each turn.

    A name that is added again before its turn is worked on once.

    :param turns: schedules the work.
    :param owner: the owner of the turns.
    :param work: called with each name.
    :param done: called when the queue has become empty.
    """

    def __init__(
        self,
        turns: ITurns,
        owner: Hashable,
        work: Callable[[str], None],
        done: Callable[[], None],
    ) -> None:
        self._turns = turns
        self._owner = owner
        self._work = work
        self._done = done
        self._names: dict[str, None] = {}
        self._turn: ITurn | None = None

    def add(self, names: Iterable[str]) -> None:
        """Add names at the end; `done` is called also if there are none."""
        self._names.update(dict.fromkeys(names))
        if self._turn is None:
            self._take_turn()

    def clear(self) -> None:
        """Remove all names, and take no more turns."""
        self._names.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _take_turn(self) -> None:
        self._turn = self._turns.take(self._owner, self._work_on_one)

    def _work_on_one(self) -> None:
        if not self._names:
            self._turn = None
            self._done()
            return
        name = next(iter(self._names))
        del self._names[name]
        # Before the work, which may clear the queue, or fail.
        self._take_turn()
        self._work(name)
