# -*- test-case-name: tests.containers.test_directory_failures -*-
"""Retries and log lines for the containers that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from devlxd.containers.document_paths import UnreadableError
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Fault
from devlxd.printable_text import printable

#: The delays of the first retries, in seconds. A failure is logged after these: a
#: document that is being written may be unreadable for a moment.
QUIET_RETRIES = (0.1, 0.2, 0.3, 0.4)

#: The delays of further retries, in seconds, of transient failures. The last
#: one is repeated.
RETRIES = (1.0, 2.0, 5.0)


@define
class _Failure:
    """The failure to read a container.

    :ivar error: the error of the last read.
    :ivar quiet_retries: the delays of the first retries, in seconds.
    :ivar retries: the number of retries so far.
    :ivar logged: the reason that was logged; empty if none was.
    :ivar retry: the next retry; ``None`` if there is none.
    """

    error: UnreadableError
    quiet_retries: Sequence[float]
    retries: int = 0
    logged: str = ""
    retry: IDelayedCall | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether it is too early to log the failure."""
        return self.retries < len(self.quiet_retries)

    def delay(self) -> float | None:
        """Return the delay of the next retry, in seconds; ``None`` for no retry."""
        if self.is_quiet:
            return self.quiet_retries[self.retries]
        number = min(self.retries - len(self.quiet_retries), len(RETRIES) - 1)
        return RETRIES[number] if self.error.is_transient else None


class FailedReads:
    """The containers that cannot be read currently.

    :param reactor: schedules the retries.
    :param log: receives each failure once, and again when its reason changes.
    :param retry: called with the name of a container that is to be read again.
    :param quiet_retries: the delays of the retries before a failure is logged, in
        seconds; default: those for documents that may be half written.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        log: RateLimitedLogger,
        retry: Callable[[str], None],
        quiet_retries: Sequence[float] = QUIET_RETRIES,
    ) -> None:
        self._reactor = reactor
        self._log = log
        self._retry_read = retry
        self._quiet_retries = quiet_retries
        self._failures: dict[str, _Failure] = {}

    def __contains__(self, name: str) -> bool:
        """Return whether the container ``name`` cannot be read."""
        return name in self._failures

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the containers that cannot be read."""
        return iter(self._failures)

    def document_of(self, name: str) -> str | None:
        """Return the document that cannot be read; ``None`` if it can."""
        failure = self._failures.get(name)
        return failure.error.file if failure else None

    def faults(self) -> Iterator[Fault]:
        """Iterate over the failures that were logged, each as a fault."""
        for name, failure in self._failures.items():
            if failure.logged:
                yield failure.error.fault_of(name)

    def add(self, name: str, error: UnreadableError) -> None:
        """Record a failure, log it if the first retries failed, and retry."""
        failure = self._failures.setdefault(name, _Failure(error, self._quiet_retries))
        if failure.error.reason != error.reason and not failure.is_quiet:
            failure.retries = 0
        failure.error = error
        if failure.retry is not None:
            return
        if not failure.is_quiet and failure.logged != error.reason:
            failure.logged = error.reason
            self._log.error(
                "cannot read container {name}, keeping its last snapshot if it has "
                "one: {problem}",
                of=(name, error.reason),
                name=printable(name),
                problem=str(error),
            )
        delay = failure.delay()
        if delay is not None:
            failure.retry = self._reactor.callLater(delay, self._retry, name)

    def _retry(self, name: str) -> None:
        failure = self._failures[name]
        failure.retry = None
        failure.retries += 1
        self._retry_read(name)

    def succeeded(self, name: str) -> None:
        """Record that the container was read, and log it if its failure was logged."""
        if self.discard(name):
            self._log.warn("container {name} can be read again", of=name, name=name)

    def discard(self, name: str) -> str:
        """Remove a container; return the reason that was logged for it, if any."""
        failure = self._failures.pop(name, None)
        if failure is None:
            return ""
        if failure.retry is not None:
            failure.retry.cancel()
        return failure.logged

    def stop(self) -> None:
        """Forget all failures, and cancel their retries."""
        for name in list(self._failures):
            self.discard(name)
