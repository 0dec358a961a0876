"""Tests of `devlxd.httpserver.stream_checks`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.httpserver.stream_checks import BATCH, StreamChecks

INTERVAL = 10


class RecordingStream:
    """A stream that records when it is checked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.times: list[float] = []

    def check(self) -> None:
        """See `Checked.check`."""
        self.times.append(self._clock.seconds())


class StreamChecksTests(SynchronousTestCase):
    """Checks of many streams."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.checks = StreamChecks(self.clock, INTERVAL)

    def add(self) -> RecordingStream:
        """Add a stream."""
        stream = RecordingStream(self.clock)
        self.checks.add(stream)
        return stream

    def test_intervals(self) -> None:
        """Each stream is checked at equal intervals from its beginning."""
        first = self.add()
        self.clock.advance(3)
        second = self.add()
        self.clock.pump([1] * 40)
        self.assertEqual(first.times, [10, 20, 30, 40])
        self.assertEqual(second.times, [13, 23, 33, 43])

    def test_one_timer(self) -> None:
        """All streams together have one timer, and none has none."""
        streams = [self.add() for _ in range(1000)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(INTERVAL)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for stream in streams:
            self.checks.remove(stream)
            self.checks.remove(stream)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_batches(self) -> None:
        """Very many streams are checked in several iterations of the reactor."""
        streams = [self.add() for _ in range(3 * BATCH)]
        call = self.clock.callLater
        # A call without a delay happens in the next iteration.
        self.patch(self.clock, "callLater", lambda _, *rest: call(0.5, *rest))
        self.clock.advance(INTERVAL)
        self.assertEqual(sum(len(s.times) for s in streams), BATCH)
        self.clock.pump([0.5, 0.5])
        self.assertEqual([len(s.times) for s in streams], [1] * (3 * BATCH))

    def test_removed_by_check(self) -> None:
        """A check may remove its stream and others, and add new ones."""
        added: list[RecordingStream] = []
        stream = self.add()
        other = self.add()

        def check() -> None:
            self.checks.remove(stream)
            self.checks.remove(other)
            added.append(self.add())

        self.patch(stream, "check", check)
        self.clock.advance(INTERVAL)
        self.clock.advance(INTERVAL)
        self.assertEqual((other.times, added[0].times), ([], [20]))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_failing(self) -> None:
        """A check that fails does not end the other checks, or its own."""
        failing, other = self.add(), self.add()
        self.patch(failing, "check", lambda: 1 // 0)
        self.assertRaises(ZeroDivisionError, self.clock.advance, INTERVAL)
        self.clock.advance(0)
        self.assertEqual(other.times, [10])
        self.assertRaises(ZeroDivisionError, self.clock.advance, INTERVAL)

    @given(
        st.lists(st.tuples(st.floats(0, 20), st.integers(0, 5)), max_size=30),
    )
    def test_any(self, steps: list[tuple[float, int]]) -> None:
        """After any additions and removals, each stream is checked when it is due."""
        self.setUp()
        present: dict[RecordingStream, float] = {}
        for seconds, number in steps:
            if number < 4:
                stream = self.add()
                present[stream] = self.clock.seconds()
            elif present:
                stream = next(iter(present))
                del present[stream]
                self.checks.remove(stream)
            self.clock.advance(seconds)
            now = self.clock.seconds()
            for stream, since in present.items():
                last = stream.times[-1] if stream.times else since
                self.assertLess(now - last, INTERVAL)
