# -*- test-case-name: tests.logs.test_choice -*-
"""The options ``--log-format`` and ``--log-level``: which observer twistd uses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

from devlxd.host.stdout import dropped_line, nonblocking
from devlxd.logs.journal import JOURNAL, JournalObserver, JournalSocket, has_journal
from devlxd.logs.json_lines import JSONObserver
from devlxd.logs.records import LEVELS as ALL_LEVELS
from devlxd.logs.records import level_of
from devlxd.logs.text import TextObserver

#: The values of ``--log-format`` and of ``--log-level``; the first is the default.
FORMATS = ("text", "json", "journal")
LEVELS = ("info", "debug", "warn", "error")

_log = Logger()


class LogChoice:
    """What the operator has chosen, and the level that is in force.

    :ivar is_made: whether the operator has chosen anything; if not, twistd writes the
        log in its own format.
    :ivar level: lines of this level, and more severe ones, are written.
    """

    def __init__(self) -> None:
        self.is_made = False
        self.level = LEVELS[0]
        self._format = FORMATS[0]

    def make(self, format: str | None, level: str | None) -> None:
        """Choose a format and a level; ``None`` means the default."""
        self.is_made = True
        self._format = format or FORMATS[0]
        self.level = level or LEVELS[0]

    def set_level(self, level: str | None) -> bool:
        """Put a level into force, ``None`` means the default.

        :return: whether it was another one before.
        """
        before, self.level = self.level, level or LEVELS[0]
        return self.level != before

    def observer(self, stdout: TextIO | None, journal: str = JOURNAL) -> ILogObserver:
        """Return an observer of the chosen format.

        :param stdout: the standard output; ``None`` if it is closed.
        :param journal: the path of journald's socket. If there is none, the log is
            written to the standard output as text.
        """
        if self._format == "json":
            written: ILogObserver = JSONObserver(_writer(stdout, _dropped_object))
        elif self._format == "journal" and has_journal(journal):
            written = JournalObserver(JournalSocket(journal))
        else:
            written = TextObserver(_writer(stdout, dropped_line))
            if self._format == "journal":
                _log.warn(
                    "there is no journal at {path}: the log is written to the "
                    "standard output",
                    path=journal,
                )
        return _LevelFilter(self, written)


@implementer(ILogObserver)
class _LevelFilter:
    """An observer that passes on the events of the level in force."""

    def __init__(self, choice: LogChoice, observer: ILogObserver) -> None:
        self._choice = choice
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        least = ALL_LEVELS.index(self._choice.level)
        if ALL_LEVELS.index(level_of(event)) >= least:
            self._observer(event)


def _writer(
    stdout: TextIO | None, dropped: Callable[[int], str]
) -> Callable[[str], None]:
    if stdout is None:
        return lambda _: None
    reconfigure = getattr(stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    file = nonblocking(stdout, dropped)

    def write(text: str) -> None:
        file.write(text)
        file.flush()

    return write


def _dropped_object(count: int) -> str:
    return (
        json.dumps({"level": "warn", "event": "lines-dropped", "count": count}) + "\n"
    )


#: The choice of this process. It is global because twistd calls `observer` by its
#: dotted name, and without arguments.
PROCESS_CHOICE = LogChoice()


def observer() -> ILogObserver:
    """Return the observer of this process, for ``twistd --logger``."""
    # `sys.stdout` is the log itself while twistd runs.
    return PROCESS_CHOICE.observer(sys.__stdout__)
