"""What is measured: figures of devlxd, beside those of other servers, and goals."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from attrs import frozen

#: How a table shows what was not measured.
NOTHING = "-"

#: The titles of the columns of a table of rows.
COLUMNS = ("Measured", "devlxd", "Unit", "Beside", "Its figure", "Ratio", "Goal", "Met")


@frozen
class Row:
    """One figure of devlxd, and that of another server in the same rounds.

    :ivar what: what is measured.
    :ivar unit: the unit of both figures.
    :ivar values: the values of devlxd, round by round.
    :ivar other: the name of the other server; empty if there is none.
    :ivar other_values: its values, round by round; empty if it was not measured.
    :ivar goal: the goal of the ratio, or of devlxd's figure if there is no other
        server; ``None`` if there is no goal.
    :ivar is_less_better: whether the goal is a maximum, and not a minimum.
    """

    what: str
    unit: str
    values: Sequence[float]
    other: str = ""
    other_values: Sequence[float] = ()
    goal: float | None = None
    is_less_better: bool = False

    @property
    def figure(self) -> float:
        """The median of devlxd's values."""
        return statistics.median(self.values)

    @property
    def other_figure(self) -> float | None:
        """The median of the other server's values; ``None`` if there are none."""
        return statistics.median(self.other_values) if self.other_values else None

    @property
    def ratio(self) -> float | None:
        """The ratio of devlxd's values to those of the other server, if known.

        It is the median of the ratios of each round: both values of a round are
        affected alike by other load of the machine.
        """
        pairs = zip(self.values, self.other_values, strict=bool(self.other_values))
        ratios = [mine / other for mine, other in pairs if other]
        return statistics.median(ratios) if ratios else None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; ``None`` if there is none, or it is not known."""
        value = self.ratio if self.other else self.figure
        if value is None or self.goal is None:
            return None
        return value <= self.goal if self.is_less_better else value >= self.goal

    def cells(self) -> Sequence[str]:
        """Return the texts of the row in a table, see `COLUMNS`."""
        goal = NOTHING
        if self.goal is not None:
            goal = f"at {'most' if self.is_less_better else 'least'} {self.goal:g}"
            goal += "" if self.other else f" {self.unit}"
        return (
            self.what,
            shown(self.figure),
            self.unit,
            self.other or NOTHING,
            shown(self.other_figure),
            shown(self.ratio),
            goal,
            {True: "yes", False: "no", None: NOTHING}[self.is_met],
        )


@frozen
class Measured:
    """What one section has measured.

    :ivar name: the name of the section, as in ``--only``.
    :ivar title: its title.
    :ivar text: how it was measured, as reStructuredText.
    :ivar rows: the figures.
    :ivar missing: what was not measured, and why.
    """

    name: str
    title: str
    text: str
    rows: Sequence[Row] = ()
    missing: Sequence[str] = ()


def shown(value: float | None) -> str:
    """Return a figure with about three digits, with spaces between thousands."""
    if value is None:
        return NOTHING
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}".replace(",", " ")


def compare(
    what: str,
    unit: str,
    found: Mapping[str, Sequence[float]],
    goals: Mapping[str, float],
    *,
    is_less_better: bool = False,
) -> list[Row]:
    """Return a row for each server that the first one is compared with.

    If there is no other, return one row.

    :param found: the values of each server, round by round; devlxd is the first.
    :param goals: the goals of the ratios, by the name of the other server. A server
        with a goal that is not in ``found`` has a row without its figure.
    """
    (_, mine), *others = found.items()
    known = dict(others)
    names = [*known, *(name for name in goals if name not in known)]
    return [
        Row(
            what,
            unit,
            mine,
            name,
            known.get(name, ()),
            goals.get(name),
            is_less_better=is_less_better,
        )
        # If it is compared with none, its own figure has no goal.
        for name in names or [""]
    ]


def table(rows: Sequence[Row]) -> str:
    """Return rows as a table for a terminal."""
    lines = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(COLUMNS))]
    right = {1, 4, 5}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if n in right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
