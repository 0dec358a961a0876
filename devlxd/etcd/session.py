# -*- test-case-name: tests.containers.test_etcd_store -*-
"""One watch, and waiting for something else at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from devlxd.etcd.errors import EtcdError
from devlxd.etcd.interfaces import IWatchReceiver
from devlxd.etcd.messages import WatchEvent, WatchLine

_T = TypeVar("_T")


class CompactedError(EtcdError):
    """Raised when etcd has forgotten changes that were not received."""


@implementer(IWatchReceiver)
class Session:
    """The receiver of a watch, whose end interrupts what waits.

    :param received: called with events, and whether more of the same revision follow.
    :param revision: returns the revision up to which all changes are known.
    """

    def __init__(
        self,
        received: Callable[[tuple[WatchEvent, ...], bool], None],
        revision: Callable[[], int],
    ) -> None:
        self._received = received
        self._revision = revision
        self._error: EtcdError | None = None
        self._waiting: Deferred[object] | None = None
        self._created: Deferred[None] = Deferred()

    def created(self) -> Deferred[None]:
        """Return the Deferred that fires when the watch has begun."""
        return self._created

    def received(self, line: WatchLine) -> None:
        """See `IWatchReceiver.received`."""
        if line.is_canceled:
            # etcd leaves the connection open, and sends nothing more.
            self._lose(self._canceled(line))
            return
        if line.events:
            self._received(line.events, line.is_fragment)
        if line.is_created and not self._created.called:
            self._created.callback(None)

    def _canceled(self, line: WatchLine) -> EtcdError:
        if line.compact_revision > self._revision() + 1:
            return CompactedError(
                f"the changes before revision {line.compact_revision} were compacted"
            )
        return EtcdError(f"the watch was canceled: {line.reason or 'no reason given'}")

    def ended(self, error: EtcdError) -> None:
        """See `IWatchReceiver.ended`."""
        self._lose(error)

    def _lose(self, error: EtcdError) -> None:
        if self._error is None:
            self._error = error
            if self._waiting is not None:
                self._waiting.cancel()

    async def wait(self, waiting: Deferred[_T]) -> _T:
        """Return the result of a Deferred.

        :raises EtcdError: if the watch has ended, or ends meanwhile. The Deferred is
            cancelled then.
        """
        self._waiting = waiting  # type: ignore[assignment] # it is only cancelled
        if self._error is not None:
            waiting.cancel()
        try:
            result = await waiting
        except (CancelledError, EtcdError):
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            self._waiting = None
        if self._error is not None:
            raise self._error
        return result
