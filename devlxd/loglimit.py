# -*- test-case-name: tests.test_loglimit -*-
"""A bound on the log lines that guests can cause."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger


class LimitedLog:
    """Warns, but not without end.

    :param log: where the warnings go.
    :param reactor: tells the time.
    :param lines: how many of them are logged at most, in each...
    :param seconds: ...so many seconds.
    """

    def __init__(
        self, log: Logger, reactor: IReactorTime, lines: int = 20, seconds: int = 60
    ) -> None:
        self._log = log
        self._reactor = reactor
        self._lines = lines
        self._seconds = seconds
        self._since = reactor.seconds()
        self._count = 0

    def warn(self, line: str, **fields: object) -> None:
        """Log a line, or that there are too many of them, or nothing."""
        now = self._reactor.seconds()
        if now - self._since >= self._seconds:
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= self._lines:
            self._log.warn(line, **fields)
        elif self._count == self._lines + 1:
            left = self._seconds - (now - self._since)
            self._log.warn("no more of this is logged for {left:.0f} s", left=left)
