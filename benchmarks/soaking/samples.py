"""Memory, descriptors, tasks and processor time of devlxd over time."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import field, frozen

from benchmarks.serving import cpu_seconds, open_files

#: How much memory may grow between the two times that are compared: a share of it,
#: and a number of MiB.
GROWTH, GROWTH_MIB = 0.05, 4.0

#: The time of the first one, as a share of the whole: 10 of 60 minutes.
FIRST = 1 / 6

#: The share of the whole around each of the two times whose median is compared.
WINDOW = 0.08


#: How many threads a reactor starts, and then keeps (`ReactorBase.getThreadPool`).
THREADS = 10


@frozen
class Sample:
    """What devlxd uses at a time.

    :ivar at: the time since the start, in seconds.
    :ivar rss: the resident memory, in MiB.
    :ivar pss: the same, with shared pages divided by their users.
    :ivar descriptors: the number of open files.
    :ivar tasks: the number of threads.
    :ivar cpu: the processor time since the last sample, in seconds per second.
    """

    at: float
    rss: float
    pss: float
    descriptors: int
    tasks: int
    cpu: float


#: The fields of a sample with their titles and formats.
COLUMNS = {
    "rss": ("RSS, MiB", "{:.1f}"),
    "pss": ("PSS, MiB", "{:.1f}"),
    "descriptors": ("descriptors", "{:.0f}"),
    "tasks": ("tasks", "{:.0f}"),
    "cpu": ("CPU", "{:.2f}"),
}


@frozen
class Sampler:
    """Takes samples of a process.

    :ivar samples: all samples so far.
    """

    pid: int
    samples: list[Sample] = field(factory=list)
    _last: list[float] = field(factory=list)
    _started: float = field(factory=time.monotonic)

    def sample(self) -> Sample:
        """Take a sample; return it."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        status = Path(f"/proc/{self.pid}/status").read_text()
        now, used = time.monotonic(), cpu_seconds(self.pid)
        before = self._last or [now - 1, used]
        cpu = (used - before[1]) / (now - before[0])
        self._last[:] = [now, used]
        taken = Sample(
            now - self._started,
            _number_after("Rss:", rollup) / 1024,
            _number_after("Pss:", rollup) / 1024,
            open_files(self.pid),
            _number_after("Threads:", status),
            cpu,
        )
        self.samples.append(taken)
        return taken


def _number_after(word: str, text: str) -> int:
    return int(text.partition(word)[2].split()[0])


def around(samples: Sequence[Sample], share: float) -> Sample:
    """Return the medians of the samples around a share of the whole time."""
    whole = samples[-1].at
    near = [s for s in samples if abs(s.at - share * whole) <= WINDOW / 2 * whole]
    near = near or [min(samples, key=lambda sample: abs(sample.at - share * whole))]
    medians = {
        name: statistics.median(getattr(s, name) for s in near) for name in COLUMNS
    }
    return Sample(at=share * whole, **medians)


def growth_of(samples: Sequence[Sample]) -> tuple[Sample, Sample]:
    """Return the samples at the two times that are compared."""
    return around(samples, FIRST), around(samples, 1 - WINDOW / 2)


def verdicts(
    samples: Sequence[Sample], before: Sample, after: Sample
) -> Iterator[tuple[str, bool]]:
    """Yield what must be flat, and whether it is.

    :param samples: those while guests were there.
    :param before: the one before they came.
    :param after: the one after they left.
    """
    first, last = growth_of(samples)
    for name in ("rss", "pss"):
        start, end = getattr(first, name), getattr(last, name)
        allowed = start * GROWTH + GROWTH_MIB
        yield (
            f"{name.upper()} {start:.1f} MiB after {minutes(first.at)} and {end:.1f} "
            f"after {minutes(last.at)}: {end - start:+.1f}, at most +{allowed:.1f}",
            end - start <= allowed,
        )
    yield (
        f"descriptors {before.descriptors} before all guests and "
        f"{after.descriptors} after them",
        after.descriptors <= before.descriptors,
    )
    most = max(each.tasks for each in samples)
    yield (
        f"tasks {before.tasks} before all guests and {after.tasks} after them, "
        f"{most} at most; the reactor keeps up to {THREADS} threads",
        most <= max(before.tasks, 1 + THREADS),
    )


def minutes(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds / 60:.1f} min"


def table(rows: dict[str, Sample]) -> Iterator[str]:
    """Yield the lines of a table of samples by title."""
    titles = [title for title, _ in COLUMNS.values()]
    yield f"{'':24}{'time':>12}" + "".join(f"{title:>13}" for title in titles)
    for what, sample in rows.items():
        cells = [form.format(getattr(sample, n)) for n, (_, form) in COLUMNS.items()]
        line = f"{what:24}{minutes(sample.at):>12}"
        yield line + "".join(f"{cell:>13}" for cell in cells)


def plots(samples: Sequence[Sample]) -> Iterator[str]:
    """Yield plots for the terminal; a hint if plotext is missing."""
    try:
        import plotext  # noqa: PLC0415 # optional
    except ImportError:
        yield "no plots: pip install 'devlxd[benchmarks]' (plotext)"
        return
    try:
        width = min(100, os.get_terminal_size().columns)
    except OSError:
        width = 100
    times = [sample.at / 60 for sample in samples]
    plotted = [name for name in COLUMNS if name != "pss"]
    figure = plotext.figure
    plotext.terminal.limit(False, False)
    figure.plot_size(width, 10 * len(plotted))
    figure.subplots(len(plotted), 1)
    for row, name in enumerate(plotted, 1):
        part = figure.subplot(row, 1)
        values = [getattr(sample, name) for sample in samples]
        part.draw(part.signal(times, values).lines(True))
        part.title(f"{COLUMNS[name][0]} over minutes")
        part.theme("colorless")
        part.ruler("y").lim(0, max(values) * 1.1)
        part.plot_size(width, 10)
    yield plotext.uncolorize(str(figure.build()))
