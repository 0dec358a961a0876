"""Tests of ``devlxd.guestapi.shared_slices``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from devlxd.guestapi.shared_slices import SharedSlices
from devlxd.turns import Slices, finish


class SharedSlicesTests(SynchronousTestCase):
    """Work that several wait for."""

    def setUp(self) -> None:
        self.done = 0
        self.shared = SharedSlices(self.work())

    def work(self) -> Slices[int]:
        """Do three slices of work."""
        for _ in range(2):
            self.done += 1
            yield
        self.done += 1
        return self.done

    def test_once(self) -> None:
        """The work is done once, and everybody receives the result."""
        self.assertEqual([finish(self.shared.result()) for _ in range(3)], [3, 3, 3])

    def test_divided(self) -> None:
        """Those who wait divide the work; all continue when it is done."""
        one, another = self.shared.result(), self.shared.result()
        next(one)
        next(another)
        self.assertEqual(self.done, 2)
        self.assertEqual(finish(one), 3)
        self.assertEqual(finish(another), 3)

    def test_abandoned(self) -> None:
        """If one of them stops, the others continue where it was."""
        one = self.shared.result()
        next(one)
        one.close()
        self.assertEqual(finish(self.shared.result()), 3)
