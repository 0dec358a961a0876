# -*- test-case-name: tests.test_limits -*-
"""The limits that an operator may change: one table of all of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attrs import Attribute, asdict, evolve, field, fields, frozen

#: What a number of bytes may be followed by.
_SIZES = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

_NUMBER = re.compile(r"(\d+(?:\.\d+)?) ?(KiB|MiB|GiB)?", re.ASCII)


@frozen
class Limit:
    """One limit: its default, and the values that it may have.

    :ivar name: its name on the command line, such as ``request-timeout``.
    :ivar default: its value unless the operator sets another one.
    :ivar unit: ``s``, ``bytes``, or empty for a number of things.
    :ivar least: the least value that it may have.
    :ivar greatest: the greatest value that it may have.
    :ivar description: what is limited, for a table.
    """

    name: str
    default: int | float
    unit: str
    least: int | float
    greatest: int | float
    description: str

    def parse(self, text: str) -> int | float:
        """Return the value that a text means.

        :param text: a number; ``KiB``, ``MiB`` or ``GiB`` may follow a number of bytes.
            It has a fraction only if the least value is a `float`.
        :raises ValueError: if it is not a number, or out of range.
        """
        match = _NUMBER.fullmatch(text.strip())
        if match is None or len(match[1]) > 20 or (match[2] and self.unit != "bytes"):
            raise ValueError(f"{self.name}: {text[:100]!r} is not a number")
        if "." not in match[1]:
            value: int | float = int(match[1]) * _SIZES[match[2] or ""]
        elif isinstance(self.least, float):
            value = float(match[1])
        else:
            raise ValueError(f"{self.name}: must be a whole number")
        self.check(value)
        return value

    def check(self, value: int | float) -> None:
        """Check that a value is permitted.

        :raises ValueError: if it is out of range.
        """
        if not (math.isfinite(value) and self.least <= value <= self.greatest):
            least, greatest = self.shown(self.least), self.shown(self.greatest)
            raise ValueError(f"{self.name}: must be from {least} to {greatest}")

    def shown(self, value: int | float) -> str:
        """Return a value with its unit, such as ``16 KiB``."""
        if self.unit != "bytes":
            return f"{value:.10g} {self.unit}".rstrip()
        unit = next(
            unit
            for unit, size in reversed(_SIZES.items())
            if (value % size == 0 and value >= size) or size == 1
        )
        return f"{int(value) // _SIZES[unit]} {unit or 'bytes'}"


def _is_permitted(_: object, attribute: Attribute[Any], value: int | float) -> None:
    _limit_of(attribute).check(value)


def _limit_of(attribute: Attribute[Any]) -> Limit:
    name = attribute.name.replace("_", "-")
    return Limit(name, attribute.default or 0, **attribute.metadata)


def _limit(
    default: int | float,
    unit: str,
    least: int | float,
    greatest: int | float,
    description: str,
) -> Any:  # noqa: ANN401 # the type of the attribute
    return field(
        default=default,
        validator=_is_permitted,
        metadata={
            "unit": unit,
            "least": least,
            "greatest": greatest,
            "description": description,
        },
    )


_KIB = 1024
_MIB = 1024**2
_GIB = 1024**3


@frozen(kw_only=True)
class Limits:
    """The value of each limit; `LIMITS` describes them.

    :raises ValueError: if a value is out of range.
    """

    connections: int = _limit(
        1024, "", 1, 1_000_000, "connections of one container at a time"
    )
    request_timeout: int = _limit(10, "s", 1, 3600, "time to send a request")
    idle_timeout: int = _limit(30, "s", 1, 86400, "time between two requests")
    close_timeout: float = _limit(
        2, "s", 0.1, 60, "time to close a connection after such a timeout"
    )
    read_timeout: int = _limit(30, "s", 1, 3600, "time without reading from a response")
    loading_timeout: float = _limit(
        3, "s", 0.0, 60, "time that a new caller waits for the store to load"
    )
    request_body_bytes: int = _limit(
        16 * _KIB, "bytes", _KIB, 16 * _MIB, "body of a request"
    )
    header_fields: int = _limit(100, "", 16, 1000, "header fields of a request")
    ignored_input_bytes: int = _limit(
        64 * _KIB,
        "bytes",
        0,
        16 * _MIB,
        "data that a guest may send while it receives events",
    )
    kept_events: int = _limit(1000, "", 1, 100_000, "events kept for one container")
    container_journal_bytes: int = _limit(
        8 * _MIB,
        "bytes",
        64 * _KIB,
        _GIB,
        "size of the events kept for one container",
    )
    journal_bytes: int = _limit(
        256 * _MIB, "bytes", _MIB, 1024 * _GIB, "size of the events of all containers"
    )
    queued_events: int = _limit(
        2000, "", 1, 1_000_000, "events that a subscriber may be behind"
    )
    queued_bytes: int = _limit(
        4 * _MIB,
        "bytes",
        64 * _KIB,
        _GIB,
        "size of the events that a subscriber may be behind",
    )
    websocket_message_bytes: int = _limit(
        64 * _KIB, "bytes", 128, 16 * _MIB, "message of a guest on a websocket"
    )
    ping_timeout: int = _limit(30, "s", 10, 3600, "time to respond to a ping")
    downloads: int = _limit(4, "", 1, 1000, "downloads of one container at a time")
    stall_timeout: int = _limit(
        300, "s", 1, 86400, "time without reading from an image"
    )
    lxd_response_timeout: int = _limit(10, "s", 1, 600, "time for an LXD to respond")
    lxd_read_timeout: int = _limit(30, "s", 1, 600, "time without data from an LXD")
    lxd_open_timeout: int = _limit(30, "s", 1, 600, "time to open an image of an LXD")
    document_bytes: int = _limit(
        16 * _MIB, "bytes", 4 * _KIB, 256 * _MIB, "document of a container"
    )
    large_documents: int = _limit(
        4, "", 1, 64, "large documents that are read at the same time"
    )
    write_timeout: int = _limit(
        60, "s", 1, 3600, "time that a document may be open for writing"
    )
    log_lines: int = _limit(
        10, "", 1, 100_000, "log lines of one kind in a minute that a guest can cause"
    )

    def as_mapping(self) -> Mapping[str, int | float]:
        """Return all values, by the names of the limits."""
        return {name.replace("_", "-"): value for name, value in asdict(self).items()}

    def with_values(self, values: Mapping[str, int | float]) -> Limits:
        """Return a copy with some other values.

        :param values: the values by the names of their limits.
        :raises ValueError: if a value is out of range.
        """
        named: dict[str, Any]
        named = {name.replace("-", "_"): value for name, value in values.items()}
        return evolve(self, **named)


#: All limits by their names, in the order of the documentation.
LIMITS: Mapping[str, Limit] = MappingProxyType(
    {limit.name: limit for limit in [_limit_of(one) for one in fields(Limits)]}
)
