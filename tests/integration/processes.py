"""The processes that tests start, what they print, and how long they may take."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from twisted.python.failure import Failure
from twisted.trial.itrial import IReporter, ITestCase
from twisted.trial.reporter import TestResultDecorator
from twisted.trial.unittest import SynchronousTestCase

#: How long anything may take, in seconds; a host that is busy is slow.
PATIENCE = 180.0

#: How much of a process's output a failed test shows, in lines.
SHOWN = 50

_T = TypeVar("_T")


def wait_until(condition: Callable[[], _T | None], what: str) -> _T:
    """Ask again and again until there is an answer that is true; return it.

    :param what: what is waited for, for the error.
    :raises AssertionError: after `PATIENCE`.
    """
    end = time.monotonic() + PATIENCE
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not in {PATIENCE:.0f} s: {what}")
        time.sleep(0.02)
    return answer


class Output:
    """What a process prints, in a file: it never waits for a reader.

    A test that fails shows the end of it.

    :ivar title: what printed it.
    :ivar file: where it goes to.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        with tempfile.NamedTemporaryFile() as named:
            self.file = open(named.name, "r+b")  # noqa: SIM115 # as long as this
            self._reader = open(named.name, errors="replace")  # noqa: SIM115
        self._rest = ""
        _outputs.append(self)

    def lines(self) -> Iterator[str]:
        """Return the lines that were not returned before."""
        while part := self._reader.readline():
            self._rest += part
            if part.endswith("\n"):
                line, self._rest = self._rest, ""
                yield line

    def tail(self) -> str:
        """Return the last lines of all that there is."""
        # Where the process writes is the position of the file: it stays.
        size = os.fstat(self.file.fileno()).st_size
        text = os.pread(self.file.fileno(), size, 0).decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-SHOWN:])


#: Those of the test that runs.
_outputs: list[Output] = []


class _FailureRecorder(TestResultDecorator):
    """Passes on what becomes of a test, and keeps whether it failed."""

    failed = False

    def addError(self, test: ITestCase, error: Failure) -> None:
        """See `IReporter.addError`."""
        self.failed = True
        super().addError(test, error)

    def addFailure(self, test: ITestCase, failure: Failure) -> None:
        """See `IReporter.addFailure`."""
        self.failed = True
        super().addFailure(test, failure)


class ProcessTestCase(SynchronousTestCase):
    """Tests that start processes; one that fails shows what they printed."""

    def run(self, result: IReporter) -> None:  # type: ignore[override] # as trial does
        """See `SynchronousTestCase.run`."""
        recorder = _FailureRecorder(result)
        _outputs.clear()
        super().run(recorder)
        if recorder.failed:
            for output in _outputs:
                sys.stdout.write(f"\n--- {output.title}\n{output.tail()}\n")
