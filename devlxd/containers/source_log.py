# -*- test-case-name: tests.containers.test_etcd_store -*-
"""Whether a remote source answers, and how old what is known of it is."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from devlxd.model import SourceState
from devlxd.printable_text import printable_path
from devlxd.timestamps import duration_text

#: The time between two lines about a source that does not answer, in seconds.
PERIOD = 60.0


class SourceLog:
    """The state of a remote source. A line is logged when it goes, or is back.

    :param source: the name of the source.
    :param reactor: measures the time.
    :ivar problem: why it does not answer; empty if it does, or was not asked yet.
    """

    _log = Logger()

    def __init__(self, source: str, reactor: IReactorTime) -> None:
        self._source = printable_path(source)
        self._reactor = reactor
        self._agreed: float | None = None
        self._gone: float | None = None
        self._is_answering = False
        self.problem = ""
        # The problem that was logged last, and when another one may be logged.
        self._logged = ""
        self._next_line = 0.0

    def kept(self, age: float) -> None:
        """Begin with what was kept.

        :param age: its age in seconds.
        """
        self._agreed = self._reactor.seconds() - max(0.0, age)

    def agreed(self) -> float | None:
        """Return when the source was last confirmed, in seconds of the reactor."""
        return self._agreed

    def state(self) -> SourceState:
        """Return the state."""
        age = None
        if self._agreed is not None:
            age = max(0.0, self._reactor.seconds() - self._agreed)
        return SourceState(self._source, self._is_answering, age, self.problem)

    def confirmed(self, endpoint: str, since: float) -> None:
        """Note that what is known was confirmed.

        :param since: the time of the question, in seconds of the reactor.
        """
        self._agreed = since
        if self._is_answering:
            return
        self._is_answering, self.problem = True, ""
        if self._gone is None:
            self._log.info(
                "the containers are those of {source} at {endpoint}",
                source=self._source,
                endpoint=endpoint,
            )
        else:
            gone, self._gone = self._reactor.seconds() - self._gone, None
            self._log.warn(
                "{source} answers again at {endpoint}, after {duration}",
                source=self._source,
                endpoint=endpoint,
                duration=duration_text(gone),
            )

    def away(self, problem: str, is_known: bool) -> None:
        """Note that no member answers.

        :param is_known: whether anything is known that is served meanwhile.
        """
        self._is_answering, self.problem = False, problem
        now = self._reactor.seconds()
        if self._gone is None:
            self._gone = now
        elif problem == self._logged or now < self._next_line:
            return
        self._logged, self._next_line = problem, now + PERIOD
        age = self.state().age
        if is_known and age is not None:
            self._log.error(
                "{source} does not answer ({problem}); its containers are served as "
                "they were {duration} ago",
                source=self._source,
                problem=problem,
                duration=duration_text(age),
            )
        else:
            self._log.error(
                "{source} does not answer ({problem}), and nothing is known of it; "
                "devlxd waits for it",
                source=self._source,
                problem=problem,
            )
