# -*- test-case-name: tests.guestapi.test_shared_slices -*-
"""Work in slices whose result several others need."""

from __future__ import annotations

from typing import Generic, TypeVar

from devlxd.turns import Slices

T = TypeVar("T")


class SharedSlices(Generic[T]):
    """Work that is done once, by those who wait for its result.

    Whoever waits does the next slice in its own. If one of them stops, the others
    continue.

    :param slices: does the work; it must not raise an exception.
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
