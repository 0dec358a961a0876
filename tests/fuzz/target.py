"""What a target of fuzzing is, and how its examples are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from attrs import frozen
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from twisted.logger import LogEvent, capturedLogs, formatEvent

T = TypeVar("T")


@frozen
class Target(Generic[T]):
    """A property that holds for all examples.

    :ivar name: the name on the command line.
    :ivar examples: the examples.
    :ivar check: raises an exception if the property does not hold for an example.
    """

    name: str
    examples: SearchStrategy[T]
    check: Callable[[T], None]

    def run(self, count: int, number: int | None = None) -> None:
        """Check examples.

        :param count: how many.
        :param number: the seed of the choice; default: the same one each time.
        :raises Exception: that of the smallest example that fails, which is printed.
        """
        chosen = settings(
            max_examples=count,
            database=None,
            deadline=None,
            derandomize=number is None,
            phases=(Phase.generate, Phase.target, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )

        def check(example: T) -> None:
            with capturedLogs() as logs:
                self.check(example)
            assert_no_failure(logs)

        test = chosen(given(self.examples)(check))
        if number is not None:
            test = seed(number)(test)
        test()


def assert_no_failure(logs: Sequence[LogEvent]) -> None:
    """Assert that no exception was logged."""
    for event in logs:
        failure = event.get("log_failure")
        assert failure is None, f"{formatEvent(event)}\n{failure.getTraceback()}"
