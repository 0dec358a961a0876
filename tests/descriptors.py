"""Which files a test has opened, whatever the tests before it have left open."""

from __future__ import annotations

import contextlib
import os


class Descriptors:
    """The file descriptors that this process has opened since this was made.

    One that another test left may be closed at any moment, by the garbage
    collector: the number of all that are open tells nothing.
    """

    def __init__(self) -> None:
        self._before = _open_now()

    def opened(self) -> list[str]:
        """Return what was opened since, and is still open: what /proc calls it."""
        now = _open_now()
        return [name for number, name in now.items() if number not in self._before]


def _open_now() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        # The one that lists them is closed again.
        with contextlib.suppress(FileNotFoundError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found
