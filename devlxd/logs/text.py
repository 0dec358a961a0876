# -*- test-case-name: tests.logs.test_text -*-
"""The log as text: one line for each event, and its traceback below."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from devlxd.logs.records import level_of, message_of, timestamp_of, traceback_of


@implementer(ILogObserver)
class TextObserver:
    """An observer that writes ``TIME LEVEL MESSAGE``.

    The lines of a traceback begin with four spaces, so that no text in an exception
    looks like a line of its own.

    :param write: writes whole lines; never blocks for long.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver.__call__`."""
        head = f"{timestamp_of(event)} {level_of(event):<8} {message_of(event)}"
        lines = [head, *(f"    {line}" for line in traceback_of(event))]
        self._write("\n".join(lines) + "\n")
