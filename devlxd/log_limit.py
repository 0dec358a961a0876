# -*- test-case-name: tests.test_log_limit -*-
"""A limit on the number of log lines that a guest or a document can cause."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from devlxd.limits import CurrentLimits

#: The maximum number of kinds of lines. A guest can invent kinds; when there are too
#: many, the kind whose period began first is evicted.
MAX_KINDS = 4096


@define
class _Period:
    """The current period of one kind of lines.

    :ivar start: when it began, in seconds.
    :ivar logged: how many lines were logged in it.
    :ivar suppressed: how many lines were suppressed in it.
    """

    start: float
    logged: int = 0
    suppressed: int = 0


class RateLimitedLogger:
    """A logger that limits the number of lines of each kind in each period.

    The lines beyond the limit are suppressed; their number is logged when the
    period ends. Each kind has its own limit: one container, or one fault, cannot
    suppress the lines about others.

    :param log: logs the lines.
    :param reactor: provides the time, and schedules the summaries.
    :param limits: how many lines of each kind to log in each period; default: the usual
        number.
    :param seconds: the length of a period, in seconds.
    """

    def __init__(
        self,
        log: Logger,
        reactor: IReactorTime,
        limits: CurrentLimits | None = None,
        seconds: int = 60,
    ) -> None:
        self._log = log
        self._reactor = reactor
        self._limits = limits or CurrentLimits()
        self._seconds = seconds
        self._periods: OrderedDict[Hashable, _Period] = OrderedDict()
        self._summary_call: IDelayedCall | None = None

    def info(self, line: str, *, of: Hashable, **fields: object) -> None:
        """Log a line of information, or suppress it; see `warn`."""
        if self._may_log(of):
            self._log.info(line, **fields)

    def warn(self, line: str, *, of: Hashable, **fields: object) -> None:
        """Log a warning, or suppress it.

        :param line: the format, as for `Logger.warn`.
        :param of: the kind of the line: usually a container and a reason.
        """
        if self._may_log(of):
            self._log.warn(line, **fields)

    def error(self, line: str, *, of: Hashable, **fields: object) -> None:
        """Log an error, or suppress it; see `warn`."""
        if self._may_log(of):
            self._log.error(line, **fields)

    def stop(self) -> None:
        """Log the numbers of suppressed lines now, and end all periods."""
        if self._summary_call is not None:
            self._summary_call.cancel()
            self._summary_call = None
        for kind, period in self._periods.items():
            self._log_suppressed(kind, period)
        self._periods.clear()

    def _may_log(self, kind: Hashable) -> bool:
        """Count a line; return whether it may be logged."""
        now = self._reactor.seconds()
        period = self._periods.get(kind)
        if period is None or now - period.start >= self._seconds:
            self._log_suppressed(kind, period)
            period = self._begin(kind, now)
        if period.logged < self._limits.value.log_lines:
            period.logged += 1
            return True
        if not period.suppressed:
            left = self._seconds - (now - period.start)
            self._log.warn(
                "more lines like the last one are suppressed for {left:.0f} s",
                left=left,
            )
            self._schedule_summary(left)
        period.suppressed += 1
        return False

    def _begin(self, kind: Hashable, now: float) -> _Period:
        """Begin a new period of a kind; evict the oldest kind if there are too many."""
        period = self._periods[kind] = _Period(now)
        self._periods.move_to_end(kind)
        if len(self._periods) > MAX_KINDS:
            self._log_suppressed(*self._periods.popitem(last=False))
        return period

    def _schedule_summary(self, seconds: float) -> None:
        """Schedule the summary, which is logged even if no further line follows."""
        if self._summary_call is None:
            self._summary_call = self._reactor.callLater(seconds, self._summarize)

    def _summarize(self) -> None:
        """Log the number of suppressed lines for each period that has ended."""
        self._summary_call = None
        now = self._reactor.seconds()
        # The periods are in the order in which they end.
        for kind, period in list(self._periods.items()):
            left = self._seconds - (now - period.start)
            if left <= 0:
                self._log_suppressed(kind, self._periods.pop(kind))
            elif period.suppressed:
                self._schedule_summary(left)

    def _log_suppressed(self, kind: Hashable, period: _Period | None) -> None:
        if period is not None and period.suppressed:
            self._log.warn(
                "{count} more lines about {kind!r} were suppressed",
                count=period.suppressed,
                kind=kind,
            )
