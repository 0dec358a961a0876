"""Bytes of requests, and restarts between them: the responses are the same."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from devlxd.guestapi.dialects.lxd import DIALECT as LXD
from tests.fuzz.mutations import mutated, pieces
from tests.fuzz.requests import TOKENS, valid_requests
from tests.fuzz.target import Target
from tests.handovers import HandoverTestCase, without_date


class _Processes(HandoverTestCase):
    """Processes, one after the other, outside of a test."""

    dialect = LXD

    def __init__(self, closed: ExitStack) -> None:
        super().__init__("exchange")
        self._closed = closed
        self.setUp()

    def mktemp(self) -> str:
        """See `SynchronousTestCase.mktemp`."""
        directory = tempfile.TemporaryDirectory(prefix="devlxd-fuzz-")
        return str(Path(self._closed.enter_context(directory)) / "file")

    def exchange(
        self, parts: Sequence[bytes], is_restarted: bool
    ) -> tuple[bytes, bool]:
        """Send parts, with restarts between them.

        :return: what is received, and whether the connection is closed then.
        """
        client, received = self.connect(), b""
        for number, part in enumerate(parts):
            if is_restarted and number:
                self.restart()
            if not client.is_closed:
                received += self.ask(client, part)
        client.socket.close()
        self.reactor.run_until_idle()
        assert self.service_connections() == 0
        return without_date(received), client.is_closed


def check(parts: Sequence[bytes]) -> None:
    """Check that restarts between parts change nothing."""
    found = []
    for is_restarted in (False, True):
        with ExitStack() as closed:
            processes = _Processes(closed)
            closed.callback(processes.doCleanups)
            found.append(processes.exchange(parts, is_restarted))
    expected, restarted = found
    assert restarted == expected, f"with restarts: {restarted}\nwithout: {expected}"


#: Valid and damaged requests, in few parts: a restart takes a while.
TARGET = Target(
    "handovers",
    pieces(mutated(valid_requests(), TOKENS)).filter(lambda parts: len(parts) < 8),
    check,
)
