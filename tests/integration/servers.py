"""Servers that tests start as processes, in particular ``twistd devlxd``."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from devlxd.fast_paths import VARIABLE
from tests.integration.processes import (
    TIMEOUT,
    GuestError,
    Output,
    start,
    wait_until,
)

#: The text that devlxd logs for each endpoint as soon as it listens there.
LISTENING = "guests are served at"

#: The twistd that belongs to this Python.
TWISTD = str(Path(sys.executable).with_name("twistd"))


class ServerProcess:
    """A process that serves guests; it listens when the constructor returns.

    :param endpoints: how many lines with `LISTENING` to wait for.
    :param environment: its environment; default: this process's.
    :param descriptors: file descriptors that it inherits, with the same numbers.
    :ivar pid: the id of the process.
    :ivar log: the lines of its log that have been read.
    :raises GuestError: if it ends before it listens.
    """

    def __init__(
        self,
        *command: str,
        endpoints: int = 1,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        self._output = Output(" ".join(command))
        self._process = start(
            *command, env=environment, output=self._output, descriptors=descriptors
        )
        self.pid = self._process.pid
        self.log: list[str] = []
        try:
            for _ in range(endpoints):
                self.wait_for(LISTENING)
            self._idle_sockets = self._sockets()
        except BaseException:
            self._process.kill()
            raise

    def wait_for(self, text: str) -> str:
        """Read the log until a line contains ``text``; return the line."""
        return wait_until(lambda: self._find(text), f"a line with {text!r}")

    def check_running(self) -> None:
        """Check that the process has not ended.

        :raises GuestError: if it has, with its log.
        """
        if self._process.poll() is not None:
            self.log.extend(self._output.lines())
            raise GuestError("the process has ended: " + "".join(self.log))

    def _find(self, text: str) -> str | None:
        ended = self._process.poll() is not None
        for line in self._output.lines():
            self.log.append(line)
            if text in line:
                return line
        if ended:
            self.check_running()
        return None

    def open_files(self) -> int:
        """Wait until all connections are closed; return the number of open files.

        :raises AssertionError: if they are not closed within the timeout.
        """
        wait_until(
            lambda: self._sockets() == self._idle_sockets, "all connections closed"
        )
        return len(self._files())

    def wait_for_files(self, count: int) -> None:
        """Wait until the process has exactly ``count`` open files.

        :raises AssertionError: after the timeout, with their names.
        """
        try:
            wait_until(lambda: len(self._files()) == count, f"{count} open files")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._files()}") from None

    def wait_for_downloads(self, image: Path, count: int) -> int:
        """Wait until ``count`` connections download ``image``.

        :return: the number of open files.
        :raises AssertionError: after the timeout, with their names.
        """
        wanted = (self._idle_sockets + count, count)
        try:
            wait_until(
                lambda: (self._sockets(), self._files().count(str(image))) == wanted,
                f"{count} downloads",
            )
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._files()}") from None
        return len(self._files())

    def _sockets(self) -> int:
        return sum(name.startswith("socket:") for name in self._files())

    def _files(self) -> list[str]:
        names = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                names.append(os.readlink(link))
        return names

    def memory(self) -> int:
        """Return the resident memory of the process in KiB (proc(5), ``VmRSS``)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1])

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the process with a signal; return its exit status."""
        self.send_signal(number)
        # A test may have stopped it with SIGSTOP.
        self.send_signal(signal.SIGCONT)
        try:
            return self._process.wait(TIMEOUT)
        finally:
            self._process.kill()
            self.log.extend(self._output.lines())


class DevLXD(ServerProcess):
    """A ``twistd devlxd``; default of ``--state``: a temporary directory.

    :param slow: the fast paths that are switched off, see `devlxd.fast_paths`.
    """

    def __init__(self, *arguments: str, slow: str = "") -> None:
        self._state = tempfile.TemporaryDirectory(prefix="devlxd-state-")
        command = [TWISTD, "-n", "--pidfile=", "devlxd", f"--state={self._state.name}"]
        endpoints = sum(argument.startswith("--listen") for argument in arguments)
        environment = {**os.environ, VARIABLE: slow or os.environ.get(VARIABLE, "")}
        super().__init__(
            *command, *arguments, endpoints=endpoints, environment=environment
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the process and remove its state; return its exit status."""
        status = super().stop(number)
        self._state.cleanup()
        return status


def operators_address(devlxd: ServerProcess) -> str:
    """Return the host and port at which a devlxd with ``--admin=tcp:0`` listens.

    It listens for operators before it listens for guests.
    """
    (address,) = re.findall(
        r"operators are served at (127\.0\.0\.1:\d+)", "".join(devlxd.log)
    )
    return str(address)
