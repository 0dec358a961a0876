# -*- test-case-name: tests.logs.test_json_lines -*-
"""The log as JSON: one object on one line for each event."""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from devlxd.logs.records import (
    bounded,
    container_of,
    fields_of,
    level_of,
    message_of,
    name_of,
    timestamp_of,
    traceback_of,
)

#: Events for people only: another event has the same facts as fields.
FOR_PEOPLE = frozenset({"startup-check"})


@implementer(ILogObserver)
class JSONObserver:
    """An observer that writes one object a line, in ASCII.

    Each has ``timestamp``, ``level``, ``message`` and ``logger``; events of devlxd
    also ``event``, those about a container ``container``, and failures ``traceback``,
    a list of lines. The fields of the event follow, those that are texts or numbers.

    :param write: writes whole lines; never blocks for long.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver.__call__`."""
        name = name_of(event)
        if name in FOR_PEOPLE:
            return
        record: dict[str, object] = {
            "timestamp": timestamp_of(event),
            "level": level_of(event),
            "event": name,
            "message": message_of(event),
            "container": container_of(event),
            "logger": bounded(str(event.get("log_namespace", ""))),
            "traceback": traceback_of(event) or None,
        }
        known = {key: value for key, value in record.items() if value is not None}
        self._write(json.dumps({**known, **fields_of(event)}, allow_nan=False) + "\n")
