"""The file descriptors that a test has opened and not closed."""

from __future__ import annotations

import contextlib
import os


class Descriptors:
    """The descriptors that this process has opened since the object was created.

    Comparing the number of open descriptors would not be enough: the garbage
    collector may close one of an earlier test at any time.
    """

    def __init__(self) -> None:
        self._before = _open_now()

    def opened(self) -> list[str]:
        """Return the targets of the descriptors that are still open."""
        now = _open_now()
        return [name for number, name in now.items() if number not in self._before]


def _open_now() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        # The descriptor of the listing itself is closed by now.
        with contextlib.suppress(FileNotFoundError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found
