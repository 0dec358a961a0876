# -*- test-case-name: tests.peers.test_checks -*-
"""The checks of an identification, as it reports them while it makes them.

An identification calls `Checks.begin` before each check, and `Checks.passed` after
it. If an exception is raised in between, that check has failed.
"""

from __future__ import annotations

from devlxd.model import Caller, Explanation, Result, Step
from devlxd.printable_text import printable_ascii

#: The maximum number of characters of the detail of a step.
MAX_DETAIL = 1000


class Checks:
    """The checks of an identification that nobody wants to see: it ignores them."""

    def begin(self, check: str) -> None:
        """Begin a check.

        :param check: what is checked, see `Step.check`.
        """

    def passed(self, text: str, *values: object) -> None:
        """Record that the check which was begun last has passed.

        :param text: what was found, a template for `str.format`.
        :param values: the values for the template.
        """

    def skipped(self, check: str, text: str, *values: object) -> None:
        """Record that a check does not apply to this process.

        :param text: the reason, a template for `str.format`.
        """


#: The argument for an identification that is not explained.
UNRECORDED = Checks()


class RecordedChecks(Checks):
    """The checks of an identification that is explained.

    :param pid: the process that is identified.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._check = ""
        self._steps: list[Step] = []
        self._refused: str | None = None

    def begin(self, check: str) -> None:
        """See `Checks.begin`."""
        self._check = check

    def passed(self, text: str, *values: object) -> None:
        """See `Checks.passed`."""
        self._add(self._check, Result.PASSED, text.format(*values))

    def skipped(self, check: str, text: str, *values: object) -> None:
        """See `Checks.skipped`."""
        self._add(check, Result.SKIPPED, text.format(*values))

    def failed(self, error: Exception) -> None:
        """Record that the check which was begun last has failed.

        :param error: the exception that the identification has raised.
        """
        self._refused = self._add(self._check, Result.FAILED, str(error))

    def explanation(self, caller: Caller | None) -> Explanation:
        """Return the explanation.

        :param caller: the caller that was identified, if any.
        """
        return Explanation(
            self._pid,
            tuple(self._steps),
            caller.container if caller else None,
            self._refused,
            caller.uid if caller else None,
        )

    def _add(self, check: str, result: Result, detail: str) -> str:
        detail = printable_ascii(detail, MAX_DETAIL)
        self._steps.append(Step(check, result, detail))
        return detail
