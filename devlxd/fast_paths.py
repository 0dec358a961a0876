# -*- test-case-name: tests.test_fast_paths -*-
"""The fast paths, and the environment variable that switches them off.

A fast path does the same as the ordinary path in less time. ``DEVLXD_SLOW`` has the
names of those that are not to be used, separated by spaces: to find out whether one is
at fault, and to test the ordinary paths.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Collection, Mapping

#: The name of the environment variable.
VARIABLE = "DEVLXD_SLOW"


class FastPath(enum.Enum):
    """The fast paths; the values are their names in the environment variable."""

    #: Requests are answered before they are parsed by Twisted.
    QUESTIONS = "questions"
    #: Callers are identified by their pidfds, without ``/proc``.
    CALLERS = "callers"
    #: Data is sent when it is written, not in the next iteration of the reactor.
    WRITES = "writes"
    #: Images are sent by ``sendfile(2)``.
    FILES = "files"


def enabled_paths(environment: Mapping[str, str]) -> Collection[FastPath]:
    """Return the fast paths that the environment does not switch off.

    :raises ValueError: if it names one that does not exist.
    """
    slow = environment.get(VARIABLE, "").split()
    unknown = set(slow) - {path.value for path in FastPath}
    if unknown:
        known = ", ".join(path.value for path in FastPath)
        raise ValueError(
            f"{VARIABLE}: no fast path is called {min(unknown)!r}; there are {known}"
        )
    return frozenset(path for path in FastPath if path.value not in slow)


def _enabled_at_import() -> Collection[FastPath]:
    """Return the enabled fast paths; `devlxd.tap` reports mistakes, and exits."""
    try:
        return enabled_paths(os.environ)
    except ValueError:
        return frozenset()


#: The fast paths in use; tests replace it.
enabled = _enabled_at_import()


def is_on(path: FastPath) -> bool:
    """Return whether a fast path is to be used."""
    return path in enabled
