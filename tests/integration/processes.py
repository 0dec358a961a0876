"""Processes that tests start, their output, and their timeouts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import TypeVar

from twisted.python.failure import Failure
from twisted.trial.itrial import IReporter, ITestCase
from twisted.trial.reporter import TestResultDecorator
from twisted.trial.unittest import SynchronousTestCase

#: The timeout of each single step, in seconds; a busy host is slow.
TIMEOUT = float(__import__("os").environ.get("TT", "180"))

#: The timeout of a whole test, in seconds.
TEST_TIMEOUT = 900

#: How many lines of each process's output a failed test shows.
SHOWN_LINES = 50

_T = TypeVar("_T")


def wait_until(condition: Callable[[], _T | None], what: str) -> _T:
    """Call ``condition`` repeatedly until it returns a true value; return it.

    :param what: the condition in words, for the error.
    :raises AssertionError: after `TIMEOUT`.
    """
    end = time.monotonic() + TIMEOUT
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {TIMEOUT:.0f} s: {what}")
        time.sleep(0.02)
    return result


#: The titles and texts that the running test prints if it fails.
_shown: list[tuple[str, Callable[[], str]]] = []

#: The outputs to close when the running test ends.
_outputs: list[Output] = []


class GuestError(Exception):
    """Raised when a command in or for a guest fails; contains its output."""


def check(command: Sequence[str], code: int | str, output: str) -> str:
    """Return the output of a command that exited with ``code``.

    :raises GuestError: if ``code`` is not 0.
    """
    if code:
        _shown.append((f"{' '.join(command)} exited with {code}", lambda: output))
        raise GuestError(f"{command[0]} exited with {code}: {output}")
    return output


def run(*command: str, env: Mapping[str, str] | None = None, stdin: str = "") -> str:
    """Run a command and return its stdout.

    :param stdin: the text on its stdin.
    :raises GuestError: if it fails or takes longer than `TIMEOUT`; the message
        includes its stderr.
    """
    # Files, as a process that the command leaves running would keep pipes open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code: int | str
        try:
            code = subprocess.run(
                command,
                env=env,
                input=stdin.encode(),
                stdout=out,
                stderr=err,
                timeout=TIMEOUT,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as expired:
            code = str(expired)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("latin-1"))
    if code:
        texts[0] += texts[1]
    return check(command, code, texts[0])


class Output:
    """The output of a process, in a file, so that writing to it never blocks.

    A failed test shows the last lines.

    :ivar file: the file to pass to the process.
    """

    def __init__(self, title: str) -> None:
        with tempfile.NamedTemporaryFile() as named:
            self.file = open(named.name, "r+b")  # noqa: SIM115 # until close()
            self._reader = open(named.name, errors="replace")  # noqa: SIM115 # as before
        self._rest = ""
        _shown.append((title, self.text))
        _outputs.append(self)

    def lines(self) -> Iterator[str]:
        """Return the complete lines since the last call."""
        while part := self._reader.readline():
            self._rest += part
            if part.endswith("\n"):
                line, self._rest = self._rest, ""
                yield line

    def text(self) -> str:
        """Return the whole output."""
        # The process shares the position of the file: pread leaves it alone.
        size = os.fstat(self.file.fileno()).st_size
        return os.pread(self.file.fileno(), size, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """Close and thereby remove the file."""
        self.file.close()
        self._reader.close()


def start(
    *command: str,
    env: Mapping[str, str] | None = None,
    output: Output | None = None,
    descriptors: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process in the background.

    :param output: receives its stdout and stderr; default: a new `Output`.
    :param descriptors: file descriptors that it inherits, with the same numbers.
    """
    output = output or Output(" ".join(command))
    return subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output.file,
        stderr=subprocess.STDOUT,
        pass_fds=descriptors,
    )


class _FailureRecorder(TestResultDecorator):
    """A reporter's decorator that records whether the test has failed."""

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
    """A base class of tests that start processes.

    A failed test shows what its processes printed. A test that takes longer
    than `TEST_TIMEOUT` fails.
    """

    def run(self, result: IReporter) -> None:  # type: ignore[override] # as trial does
        """See `SynchronousTestCase.run`; adds the timeout and the output."""
        recorder = _FailureRecorder(result)
        before = signal.signal(signal.SIGALRM, _fail)
        signal.alarm(TEST_TIMEOUT)
        try:
            super().run(recorder)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        if recorder.failed:
            for title, text in _shown:
                lines = "\n".join(text().splitlines()[-SHOWN_LINES:])
                sys.stdout.write(f"\n--- {title}\n{lines}\n")
        _shown.clear()
        while _outputs:
            _outputs.pop().close()


def _fail(_number: int, _frame: FrameType | None) -> None:
    raise AssertionError(f"the test has not ended within {TEST_TIMEOUT} s")
