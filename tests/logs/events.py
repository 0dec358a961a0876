"""Events for tests of observers of the log, some with text that a guest has made."""

from __future__ import annotations

from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure

#: Text with which a guest tries to begin a line or a field of its own.
HOSTILE = "a\nb\r\0\x1b[31mc\u2028d\u202ee\x85f\udc80g\u00a0h"

#: How it is written.
ESCAPED = "a\\nb\\r\\x00\\x1b[31mc\\u2028d\\u202ee\\x85f\\udc80g\\xa0h"


def refusal(**fields: object) -> LogEvent:
    """Return the event of a refused caller at the time 1.5 s."""
    return {
        "reason": "r",
        **fields,
        "log_namespace": "devlxd.peers.admission",
        "log_level": LogLevel.warn,
        "log_time": 1.5,
        "log_format": "not in a container: {reason}",
    }


def failure(text: str) -> LogEvent:
    """Return the event of a turn that has failed with an exception."""
    try:
        raise ZeroDivisionError(text)
    except ZeroDivisionError:
        raised = Failure()
    return {
        "log_namespace": "devlxd.turns",
        "log_level": LogLevel.critical,
        "log_time": 1.5,
        "log_format": "a turn of {owner} failed; its other turns continue",
        "log_failure": raised,
        "owner": "c1",
    }
