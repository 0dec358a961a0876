# -*- test-case-name: tests.testing.test_fake_devlxd -*-
"""The failures that a test has planned for the next questions."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

from devlxd.client import GuestError


class NoAnswer(enum.Enum):
    """What a server does instead of an answer.

    :cvar CLOSED: it closes the connection.
    :cvar SILENT: it does nothing: the question fails when its time is over.
    """

    CLOSED = "the server closes the connection"
    SILENT = "the server does not answer"


#: What happens in place of an answer: an exception that the question raises, or the
#: status code of a response, or neither.
PlannedFailure: TypeAlias = GuestError | int | NoAnswer


class PlannedFailures:
    """The failures of the next questions, in order."""

    def __init__(self) -> None:
        self._failures: deque[PlannedFailure] = deque()

    def extend(self, failures: Iterable[PlannedFailure]) -> None:
        """Add failures."""
        self._failures.extend(failures)

    def raise_next(self) -> None:
        """Raise the next failure if it is an exception."""
        if self._failures and isinstance(self._failures[0], GuestError):
            error = self._failures.popleft()
            assert isinstance(error, GuestError)
            raise error

    def take_next(self) -> int | NoAnswer | None:
        """Return the next failure if it is one of the server; ``None`` otherwise."""
        if self._failures and not isinstance(self._failures[0], GuestError):
            failure = self._failures.popleft()
            assert not isinstance(failure, GuestError)
            return failure
        return None

    def __len__(self) -> int:
        """Return how many failures are left."""
        return len(self._failures)
