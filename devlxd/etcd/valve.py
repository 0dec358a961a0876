# -*- test-case-name: tests.containers.test_etcd_store -*-
"""Pausing what etcd sends while too many changes wait."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from devlxd.etcd.interfaces import IWatch


class Valve:
    """Pauses the current watch, and the next page of a list.

    :ivar pauses: how often it was closed.
    """

    def __init__(self) -> None:
        self.pauses = 0
        self._watch: IWatch | None = None
        self._opening: Deferred[None] | None = None
        self._is_open = True

    def attach(self, watch: IWatch | None) -> None:
        """Pause and resume this watch from now on."""
        self._watch = watch
        if watch is not None and not self._is_open:
            watch.pause()

    def close(self) -> None:
        """Receive no changes for a while; harmless if it is closed."""
        if self._is_open:
            self._is_open = False
            self.pauses += 1
            if self._watch is not None:
                self._watch.pause()

    def open(self) -> None:
        """Receive changes again; harmless if it is open."""
        if not self._is_open:
            self._is_open = True
            if self._watch is not None:
                self._watch.resume()
            opening, self._opening = self._opening, None
            if opening is not None and not opening.called:
                opening.callback(None)

    @property
    def is_open(self) -> bool:
        """Whether changes are received."""
        return self._is_open

    def opened(self) -> Deferred[None]:
        """Return a Deferred that fires when it is open. One may wait at a time."""
        if self._is_open:
            return succeed(None)
        self._opening = Deferred()
        return self._opening
