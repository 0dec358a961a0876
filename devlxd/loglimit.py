# -*- test-case-name: tests.test_loglimit -*-
"""A bound on the log lines that guests, or documents, can cause."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

#: How many kinds of lines are told apart at a time. What a guest can make up
#: must not be kept without bound; the one whose period began first goes first.
MAX_KINDS = 4096


@define
class _Kind:
    """What was logged of one kind of lines, in the present period."""

    since: float
    lines: int = 0
    left_out: int = 0


class RateLimitedLogger:
    """Logs so many lines of a kind in a period, and how many it left out.

    Each kind has a limit of its own, so that one container, or one fault, that
    fills its own keeps nothing else out of the log.

    :param log: where the lines go.
    :param reactor: tells the time, and when to say how much was left out.
    :param lines: how many lines of one kind are logged at most, in each...
    :param seconds: ...so many seconds.
    """

    def __init__(
        self, log: Logger, reactor: IReactorTime, lines: int = 10, seconds: int = 60
    ) -> None:
        self._log = log
        self._reactor = reactor
        self._lines = lines
        self._seconds = seconds
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()
        self._telling: IDelayedCall | None = None

    def warn(self, line: str, *, of: Hashable, **fields: object) -> None:
        """Log a warning, unless its kind has had its share.

        :param line: the format, as `Logger.warn` takes it.
        :param of: the kind: usually a container and a reason.
        """
        if self._may_log(of):
            self._log.warn(line, **fields)

    def error(self, line: str, *, of: Hashable, **fields: object) -> None:
        """Log an error, unless its kind has had its share; see `warn`."""
        if self._may_log(of):
            self._log.error(line, **fields)

    def _may_log(self, kind: Hashable) -> bool:
        now = self._reactor.seconds()
        known = self._kinds.get(kind)
        if known is None or now - known.since >= self._seconds:
            self._tell_left_out(kind, known)
            known = self._begin(kind, now)
        if known.lines < self._lines:
            known.lines += 1
            return True
        if not known.left_out:
            left = self._seconds - (now - known.since)
            self._log.warn("no more of this is logged for {left:.0f} s", left=left)
            self._tell_in(left)
        known.left_out += 1
        return False

    def _begin(self, kind: Hashable, now: float) -> _Kind:
        """Begin a new period for a kind of lines."""
        known = self._kinds[kind] = _Kind(now)
        self._kinds.move_to_end(kind)
        if len(self._kinds) > MAX_KINDS:
            self._tell_left_out(*self._kinds.popitem(last=False))
        return known

    def _tell_in(self, seconds: float) -> None:
        """Tell what is left out when its period is over: the flood may be, too."""
        if self._telling is None:
            self._telling = self._reactor.callLater(seconds, self._tell)

    def _tell(self) -> None:
        self._telling = None
        now = self._reactor.seconds()
        # The one whose period is over first comes first.
        for kind, known in list(self._kinds.items()):
            left = self._seconds - (now - known.since)
            if left <= 0:
                self._tell_left_out(kind, self._kinds.pop(kind))
            elif known.left_out:
                self._tell_in(left)

    def _tell_left_out(self, kind: Hashable, known: _Kind | None) -> None:
        if known is not None and known.left_out:
            self._log.warn(
                "{count} more lines about {kind!r} were left out",
                count=known.left_out,
                kind=kind,
            )
