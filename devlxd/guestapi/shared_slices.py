# -*- test-case-name: tests.guestapi.test_shared_slices -*-
"""Work in slices whose result is needed in several places."""

from __future__ import annotations

from typing import Generic, TypeVar

from devlxd.turns import Slices

T = TypeVar("T")


class SharedSlices(Generic[T]):
    """Work that is done once, however often its result is asked for.

    Each generator that `result` has returned does the next slice of the work in a
    slice of its own. If one of them is stopped, the others continue.

    :param slices: the work; it must not raise an exception.
    """

    def __init__(self, slices: Slices[T]) -> None:
        self._slices = slices
        self._results: list[T] = []

    def result(self) -> Slices[T]:
        """Return the result; do the rest of the work, in slices."""
        while not self._results:
            try:
                next(self._slices)
            except StopIteration as stop:
                self._results.append(stop.value)
            else:
                yield
        return self._results[0]
