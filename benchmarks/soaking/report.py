"""What a soak has done, and what was wrong."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.serving import percentile
from benchmarks.soaking.containers import Guest
from tests.integration.processes import GuestError

#: How many failures are printed in full; the others are only counted.
MAX_PRINTED = 50

#: How many response times are kept: the latest ones.
MAX_TIMES = 20_000


class WrongError(Exception):
    """Raised when devlxd does something wrong; the text says what."""


#: Everything that fails an operation, but not the soak.
ERRORS = (WrongError, GuestError, EOFError, OSError, asyncio.TimeoutError)


class Report:
    """The numbers of operations, and the failures.

    :ivar done: the number of operations that were right, by what was done.
    :ivar excused: the number of those that were interrupted because their container
        was stopped or removed meanwhile.
    :ivar failed: the number of failures, by what was done.
    """

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._started = time.monotonic()
        self._times: deque[float] = deque(maxlen=MAX_TIMES)

    def fail(self, what: str, why: object) -> None:
        """Count a failure, and print it."""
        self.failed[what] += 1
        if self.failed.total() <= MAX_PRINTED:
            at = time.monotonic() - self._started
            print(f"FAILED after {at:.0f} s: {what}: {why}", flush=True)

    @contextmanager
    def counting(self, what: str, guest: Guest | None = None) -> Iterator[None]:
        """Count the block as done, excused, or failed.

        :param guest: the container in which it runs. If it is stopped or removed
            meanwhile, errors are excused.
        """
        epoch = guest.epoch if guest else 0
        is_up = guest is None or guest.is_up
        start = time.monotonic()
        try:
            yield
        except ERRORS as error:
            if guest and not (is_up and guest.is_up and guest.epoch == epoch):
                self.excused[what] += 1
            else:
                took = time.monotonic() - start
                where = f"{guest.name}: " if guest else ""
                self.fail(what, f"{where}{error!r} after {took:.1f} s")
        else:
            self.done[what] += 1

    def record_time(self, seconds: float) -> None:
        """Record the time of one response."""
        self._times.append(seconds * 1000)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the report."""
        yield f"{'what was done':32} {'right':>8} {'excused':>8} {'FAILED':>8}"
        for what in sorted({*self.done, *self.excused, *self.failed}):
            counts = (self.done[what], self.excused[what], self.failed[what])
            yield f"{what:32} " + " ".join(f"{count:8}" for count in counts)
        if self._times:
            median, p99 = (percentile(self._times, p) for p in (50, 99))
            yield (
                f"response times of the last {len(self._times)} single requests: "
                f"median {median:.1f} ms, p99 {p99:.1f} ms, worst "
                f"{max(self._times):.1f} ms"
            )
