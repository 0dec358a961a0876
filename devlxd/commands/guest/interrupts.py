# -*- test-case-name: tests.commands.guest.test_interrupts -*-
"""Ctrl-C and signals that wait until a piece of work is finished."""

from __future__ import annotations

import signal
import subprocess
from types import FrameType, TracebackType

#: The signals that interrupt a command.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Holds interrupts back while it is entered; raises them when it is left.

    Only one that arrives in `wait` ends the waiting, which needs no exception: nothing
    is done by halves. A signal that is ignored stays so.

    :ivar arrived: whether an interrupt has arrived.
    """

    def __init__(self) -> None:
        self.arrived = False
        self._is_waiting = False
        self._handlers: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        """Hold interrupts back from now on."""
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler is not signal.SIG_IGN:
                self._handlers[number] = handler
                signal.signal(number, self._arrive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise `KeyboardInterrupt` if an interrupt has arrived, but no other error."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # see __enter__
        self._handlers.clear()
        if self.arrived and error is None:
            raise KeyboardInterrupt

    def _arrive(self, _number: int, _frame: FrameType | None) -> None:
        self.arrived = True
        if self._is_waiting:
            self._is_waiting = False
            raise KeyboardInterrupt

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a process has ended, or an interrupt arrives."""
        try:
            # From here on the handler raises, once, and always within the try.
            self._is_waiting = True
            if not self.arrived:
                process.wait()
            self._is_waiting = False
        except KeyboardInterrupt:
            pass
