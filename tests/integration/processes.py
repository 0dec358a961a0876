"""The processes that tests start, what they print, and how long they may take."""

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

#: How long anything may take, in seconds; a host that is busy is slow.
TIMEOUT = 180.0

#: How long a whole test may take, in seconds.
TEST_TIMEOUT = 900

#: How much of a process's output a failed test shows, in lines.
SHOWN_LINES = 50

_T = TypeVar("_T")


def wait_until(condition: Callable[[], _T | None], what: str) -> _T:
    """Ask again and again until there is an answer that is true; return it.

    :param what: what is waited for, for the error.
    :raises AssertionError: after `TIMEOUT`.
    """
    end = time.monotonic() + TIMEOUT
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not in {TIMEOUT:.0f} s: {what}")
        time.sleep(0.02)
    return answer


#: What a failed test shows, of the test that runs: titles and texts.
_shown: list[tuple[str, Callable[[], str]]] = []

#: What is closed when the test has ended.
_outputs: list[Output] = []


class GuestError(Exception):
    """What ran in a guest or for one failed; the text is what it printed."""


def check(command: Sequence[str], code: int | str, output: str) -> str:
    """Return the output of a command that gave ``code``.

    :raises GuestError: when that is not 0.
    """
    if code:
        _shown.append((f"{' '.join(command)} gave {code}", lambda: output))
        raise GuestError(f"{command[0]} gave {code}: {output}")
    return output


def run(*command: str, env: Mapping[str, str] | None = None, said: str = "") -> str:
    """Run a command; return what it printed on stdout.

    :param said: what it reads on stdin.
    :raises GuestError: when it failed, or took longer than `TIMEOUT`; the text
        has its stderr too.
    """
    # Not pipes: what a command leaves running may hold them open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code: int | str
        try:
            code = subprocess.run(
                command,
                env=env,
                input=said.encode(),
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
    """What a process prints, in a file: it never waits for a reader.

    A test that fails shows the end of it.

    :ivar file: where it goes to.
    """

    def __init__(self, title: str) -> None:
        with tempfile.NamedTemporaryFile() as named:
            self.file = open(named.name, "r+b")  # noqa: SIM115 # as long as this
            self._reader = open(named.name, errors="replace")  # noqa: SIM115
        self._rest = ""
        _shown.append((title, self.text))
        _outputs.append(self)

    def lines(self) -> Iterator[str]:
        """Return the lines that were not returned before."""
        while part := self._reader.readline():
            self._rest += part
            if part.endswith("\n"):
                line, self._rest = self._rest, ""
                yield line

    def text(self) -> str:
        """Return all that there is."""
        # Where the process writes is the position of the file: it stays.
        size = os.fstat(self.file.fileno()).st_size
        return os.pread(self.file.fileno(), size, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """Forget what was printed."""
        self.file.close()
        self._reader.close()


def start(
    *command: str, env: Mapping[str, str] | None = None, output: Output | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that goes on; return it.

    :param output: where it prints, for who reads it.
    """
    output = output or Output(" ".join(command))
    return subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output.file,
        stderr=subprocess.STDOUT,
    )


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
    """Tests that start processes.

    One that fails shows what they printed; one that takes too long fails.
    """

    def run(self, result: IReporter) -> None:  # type: ignore[override] # as trial does
        """See `SynchronousTestCase.run`."""
        recorder = _FailureRecorder(result)
        before = signal.signal(signal.SIGALRM, _give_up)
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


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise AssertionError(f"the test has not ended in {TEST_TIMEOUT} s")
