# -*- test-case-name: tests.test_model -*-
"""How a process would be identified, check by check."""

from __future__ import annotations

import enum

from attrs import frozen


class Result(enum.Enum):
    """The result of a check."""

    PASSED = "passed"
    FAILED = "failed"
    #: The check does not apply to this process.
    SKIPPED = "skipped"


@frozen
class Step:
    """One check of an identification.

    :ivar check: what is checked, as a short phrase for operators.
    :ivar result: the result.
    :ivar detail: what was found, in one line; text that a guest has chosen is escaped.
    """

    check: str
    result: Result
    detail: str = ""


@frozen
class Explanation:
    """How a process would be identified, and where that fails.

    :ivar pid: its process id in the pid namespace of devlxd.
    :ivar steps: the checks, in their order. The first one that fails is the last one,
        except for those of the gates: there is one for each dialect that is served.
    :ivar container: the name of its container; ``None`` if it is not identified.
    :ivar refused: the reason for which its requests are refused, in one line; ``None``
        if they are answered.
    :ivar uid: its user id inside the container, 0 for root; ``None`` if it is not
        identified, or a user of the host that has no id there.
    """

    pid: int
    steps: tuple[Step, ...]
    container: str | None = None
    refused: str | None = None
    uid: int | None = None
