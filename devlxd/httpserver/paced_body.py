# -*- test-case-name: tests.httpserver.test_paced_body -*-
"""Bodies that are too long to be sent at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from devlxd.interfaces import ISink, IStream

#: Reads a piece of a body: from where, and at most how many bytes.
Read = Callable[[int, int], Awaitable[bytes]]


@implementer(IStream)
class PacedBody:
    """Sends a body as fast as the client reads it, piece by piece.

    :param start: where to begin in what ``read`` reads, in bytes.
    :param end: where to end, in bytes.
    :param read: returns at least one byte; what it raises ends the response.
    :param piece: how much is in memory at a time, in bytes.
    :param release: called once, when nothing is read any more.
    """

    def __init__(
        self,
        start: int,
        end: int,
        read: Read,
        piece: int,
        release: Callable[[], object] = lambda: None,
    ) -> None:
        self._start = start
        self._end = end
        self._read = read
        self._piece = piece
        self._release = release
        self._is_started = False
        self._is_closed = False
        self._room: Deferred[None] | None = None

    def start(self, sink: ISink) -> None:
        """See `IStream.start`."""
        self._is_started = True
        Deferred.fromCoroutine(self._send(sink)).addErrback(sink.fail)

    async def _send(self, sink: ISink) -> None:
        try:
            start = self._start
            while start < self._end and not self._is_closed:
                data = await self._read(start, min(self._piece, self._end - start))
                if not self._is_closed:
                    sink.write(data)
                start += len(data)
                if self._room is not None:
                    await self._room
        finally:
            self._release()
        if not self._is_closed:
            sink.finish()

    def pause(self) -> None:
        """See `IStream.pause`."""
        if self._room is None and not self._is_closed:
            self._room = Deferred()

    def resume(self) -> None:
        """See `IStream.resume`."""
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def close(self) -> None:
        """See `IStream.close`: what is being read is still read to its end."""
        if self._is_closed:
            return
        self._is_closed = True
        self.resume()
        if not self._is_started:
            self._release()
