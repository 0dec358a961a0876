# -*- test-case-name: tests.guestapi.test_image_export -*-
"""Bodies that are too long to be sent at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from devlxd.httpserver.request import GuestRequest

#: Reads a piece of a body: where it begins, and how long it may be.
Read = Callable[[int, int], Awaitable[bytes]]


@implementer(IPushProducer)
class PacedBody:
    """Sends a body as fast as the guest reads it, a piece at a time.

    Inside a ``with`` block its connection is known to be busy: it is broken
    off when the guest may not ask any more.

    :param request: what it is the answer to. Its head is sent with the first
        piece, so that there may be another answer if that cannot be read.
    :param piece: how much of it is in memory at a time, in bytes.
    :param patience: for how long the guest may stop to read, in seconds.
    """

    #: See `devlxd.httpserver.channel.Stream.endless`.
    endless = False

    def __init__(self, request: GuestRequest, piece: int, patience: float) -> None:
        self._request = request
        self._channel = request.channel
        self._piece = piece
        self._patience = patience
        self._waiting: IDelayedCall | None = None
        self._room: Deferred[None] | None = None

    def __enter__(self) -> PacedBody:
        """Let the connection know."""
        self._channel.stream = self
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it was."""
        self._channel.stream = None

    async def send(self, start: int, end: int, read: Read) -> None:
        """Send the bytes from ``start`` to ``end``, and finish the request.

        When this returns the guest has all of them, or is gone. Whatever
        ``read`` raises is raised, and the request not finished.

        :param read: reads at least one byte, and no more than it may.
        """
        self._request.notifyFinish().addErrback(lambda _: self.resumeProducing())
        self._request.registerProducer(self, True)
        try:
            while start < end and not self._request.is_gone:
                piece = await read(start, min(self._piece, end - start))
                # If the guest has gone meanwhile, this goes nowhere.
                self._request.write(piece)
                start += len(piece)
                if self._room is not None:
                    await self._room
        finally:
            self._stop_waiting()
            if not self._request.is_gone:
                self._request.unregisterProducer()
        if not self._request.is_gone:
            self._request.finish()

    def pauseProducing(self) -> None:
        """Wait until the guest reads, but not without end."""
        if self._room is None:
            self._room = Deferred()
            self._waiting = self._channel.callLater(
                self._patience, self._channel.forceAbortClient
            )

    def resumeProducing(self) -> None:
        """Go on."""
        self._stop_waiting()
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: the request is told next that the guest is gone."""

    def close(self) -> None:
        """Send no more of it; the guest sees that it has not got all."""
        self._channel.forceAbortClient()

    def _stop_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.active():
            waiting.cancel()
