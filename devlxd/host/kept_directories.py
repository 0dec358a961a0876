# -*- test-case-name: tests.host.test_kept_directories -*-
"""The directories of removed containers, which are kept for some time."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from devlxd.host.socket_directories import SocketDirectories
from devlxd.log_limit import RateLimitedLogger

#: For how long the directory of a removed container is kept, in seconds. A container
#: that is added again, and has run all the time, has this directory mounted.
KEPT = 3600.0

#: The kind of the only line here, see `RateLimitedLogger`.
_STAYS: Hashable = "directory stays"


class KeptDirectories:
    """The directories of removed containers, and when to remove them.

    :param directories: where they are.
    :param exists: returns whether a container exists, perhaps with a broken document.
    :param reactor: provides the time.
    """

    _log = Logger()

    def __init__(
        self,
        directories: SocketDirectories,
        exists: Callable[[str], bool],
        reactor: IReactorTime,
    ) -> None:
        self._directories = directories
        self._exists = exists
        self._reactor = reactor
        # When each is to be removed, in order.
        self._times: dict[str, float] = {}
        self._limited_log = RateLimitedLogger(self._log, reactor)

    def keep(self, name: str) -> None:
        """Keep a directory for `KEPT` seconds from now; not longer if it is kept."""
        self._times.setdefault(name, self._reactor.seconds() + KEPT)

    def use(self, name: str) -> None:
        """Keep a directory from now on: its container exists again."""
        self._times.pop(name, None)

    def is_due(self, name: str) -> bool:
        """Return whether a directory is to be removed now."""
        return name in self._times and self._times[name] <= self._reactor.seconds()

    def due(self) -> list[str]:
        """Return the names of those to be removed now."""
        return [name for name in self._times if self.is_due(name)]

    def seconds_left(self) -> float | None:
        """Return when the next one is to be removed; ``None`` if there is none."""
        for time in self._times.values():
            return max(0.0, time - self._reactor.seconds())
        return None

    def remove(self, name: str) -> None:
        """Remove a directory, unless there is more in it than its socket.

        Keep it for `KEPT` seconds more if its container exists again: it may run, and
        have the directory mounted.
        """
        self._times.pop(name, None)
        if self._exists(name):
            self.keep(name)
        elif not self._directories.remove(name):
            self._limited_log.warn(
                "the directory {directory}/{container} of a removed container stays: "
                "there is more in it than its socket",
                of=_STAYS,
                directory=self._directories.path,
                container=name,
            )

    def stop(self) -> None:
        """Forget all: the next process keeps them for as long again."""
        self._times.clear()
        self._limited_log.stop()
