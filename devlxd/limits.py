# -*- test-case-name: tests.test_limits -*-
"""The limits that are in force, and the option ``--limit``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from devlxd.model import LIMITS, Limits


class CurrentLimits:
    """The limits that are in force; code that uses one reads it here each time.

    :ivar value: all limits; an operator may have them replaced while devlxd runs.
    """

    def __init__(self, value: Limits | None = None) -> None:
        self.value = value or Limits()

    def as_mapping(self) -> Mapping[str, int | float]:
        """Return the values in force, by the names of the limits."""
        return self.value.as_mapping()


def parse_limit(text: str) -> tuple[str, int | float]:
    """Parse ``NAME=VALUE``.

    :return: the name of a limit, and its value.
    :raises ValueError: if there is no such limit, or its value is not permitted. The
        text is one line.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text[:100]!r} must have the form NAME=VALUE")
    return name, parse_value(name, value)


def parse_value(name: str, text: str) -> int | float:
    """Return the value of the limit ``name``.

    :raises ValueError: see `parse_limit`.
    """
    limit = LIMITS.get(name)
    if limit is None:
        raise ValueError(
            f"there is no limit {name[:100]!r}{hint(name, LIMITS)}; "
            "--limit=help lists all limits"
        )
    return limit.parse(text)


def hint(name: str, known: Iterable[str]) -> str:
    """Return the part of a message that names what was probably meant, or nothing."""
    close = get_close_matches(name[:100], list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def changed(old: Limits, new: Limits) -> Mapping[str, str]:
    """Return the limits that differ: the new value of each with its unit, by name."""
    before = old.as_mapping()
    return {
        name: LIMITS[name].shown(value)
        for name, value in new.as_mapping().items()
        if value != before[name]
    }


def table() -> str:
    """Return a table of all limits, as plain text for a terminal."""
    rows = [
        (
            limit.name,
            limit.shown(limit.default),
            f"{limit.shown(limit.least)} to {limit.shown(limit.greatest)}",
            limit.description,
        )
        for limit in LIMITS.values()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["The limits: name, default, permitted values.", ""]
    for *cells, description in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines += ["  ".join(padded).rstrip(), f"    {description}"]
    return "\n".join(lines)
