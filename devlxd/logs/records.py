# -*- test-case-name: tests.logs.test_records -*-
"""The parts of a log event that observers write: escaped, and of limited length."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure

from devlxd.logs.event_names import EVENT_NAMES
from devlxd.printable_text import escaped

#: The maximum length of a message, of a field, and of a line of a traceback, in
#: characters, and how many lines and fields there are at most.
MAX_MESSAGE = 4000
MAX_FIELD = 1000
MAX_LINE = 500
MAX_LINES = 50
MAX_FIELDS = 50

#: The levels of events, from the least severe.
LEVELS = ("debug", "info", "warn", "error", "critical")

#: Attributes of events that are not fields: those of twisted.logger, and older ones.
_INTERNAL = re.compile(
    r"log_\w+|format|isError|message|system|time|why|failure|timestamp|level|event"
    r"|container|logger|traceback"
)

#: Greater numbers, infinity and NaN are not written: not every reader of JSON has them.
_MAX_NUMBER = 2**63

_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def bounded(text: str, limit: int = MAX_FIELD) -> str:
    """Return ``text``, escaped and cut off: a guest may have chosen it.

    :param limit: after how many characters the text is cut off.
    """
    return escaped(text if len(text) <= limit else text[:limit] + "...")


def level_of(event: LogEvent) -> str:
    """Return the level: ``debug``, ``info``, ``warn``, ``error`` or ``critical``."""
    name = getattr(event.get("log_level"), "name", None)
    return name if name in LEVELS else "info"


def timestamp_of(event: LogEvent) -> str:
    """Return the time in UTC, as ``2026-11-26T14:41:35.123Z``."""
    when = datetime.fromtimestamp(event.get("log_time", 0), timezone.utc)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_of(event: LogEvent) -> str:
    """Return the message, on one line."""
    return bounded(formatEvent(event), MAX_MESSAGE)


def name_of(event: LogEvent) -> str | None:
    """Return the name of an event of devlxd, see `EVENT_NAMES`; else ``None``."""
    return EVENT_NAMES.get(event.get("log_format") or "")


def container_of(event: LogEvent) -> str | None:
    """Return the container that an event of devlxd is about; ``None`` without one."""
    if name_of(event) is None:
        return None
    for field in ("container", "owner", "name"):
        value = event.get(field)
        if isinstance(value, str):
            return bounded(value)
    return None


def fields_of(event: LogEvent) -> Mapping[str, str | int | float]:
    """Return those fields of an event of devlxd that are texts or numbers."""
    if name_of(event) is None:
        return {}
    found: dict[str, str | int | float] = {}
    container = container_of(event)
    for name, value in event.items():
        if _INTERNAL.fullmatch(name) or not _FIELD_NAME.fullmatch(name):
            continue
        if name in ("name", "owner") and value == container:
            continue
        if isinstance(value, str):
            found[name] = bounded(value)
        elif isinstance(value, int | float) and abs(value) < _MAX_NUMBER:
            found[name] = value
        if len(found) == MAX_FIELDS:
            break
    return found


def traceback_of(event: LogEvent) -> Sequence[str]:
    """Return the lines of the traceback of a failure; empty without one."""
    failure = event.get("log_failure")
    if not isinstance(failure, Failure):
        return []
    try:
        text = failure.getTraceback()
    except Exception:
        return ["(no traceback)"]
    lines = [bounded(line, MAX_LINE) for line in text.rstrip("\n").split("\n")]
    if len(lines) > MAX_LINES:
        # The last lines have the exception.
        lines = ["...", *lines[-MAX_LINES:]]
    return lines


def location_of(event: LogEvent) -> tuple[str, int, str] | None:
    """Return the file, line and function where an exception was raised."""
    failure = event.get("log_failure")
    frames = getattr(failure, "frames", None) or [None]
    frame = frames[-1]
    if frame is None:
        return None
    function, file, line, *_ = frame
    return bounded(str(file)), int(line), bounded(str(function))
