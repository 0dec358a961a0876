# -*- test-case-name: tests.httpserver.test_paced_body -*-
"""Bodies that are too long to be sent in one piece."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from devlxd.interfaces import ISink, IStream

#: Reads a piece of a body. The arguments are the offset and the maximum length of the
#: piece, in bytes.
Read = Callable[[int, int], Awaitable[bytes]]


@implementer(IStream)
class PacedBody:
    """A body that is sent as fast as the client reads it, piece by piece.

    :param start: the offset of the first byte to send.
    :param end: the offset after the last byte to send.
    :param read: reads a piece of the body: at least one byte. An exception ends the
        response.
    :param piece: the maximum length of a piece, in bytes.
    :param release: called once, when nothing more will be read.
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
        self._resumed: Deferred[None] | None = None

    def start(self, sink: ISink) -> None:
        """See `IStream.start`."""
        self._is_started = True
        Deferred.fromCoroutine(self._send(sink)).addErrback(sink.fail)

    async def _send(self, sink: ISink) -> None:
        try:
            start = self._start
            while start < self._end and not self._is_closed:
                start += await self._send_piece(sink, start)
                if self._resumed is not None:
                    await self._resumed
        finally:
            await self._settle()
            self._release()
        if not self._is_closed:
            sink.finish()

    async def _settle(self) -> None:
        """Hook: wait until nothing is being read; default: do nothing."""

    async def _send_piece(self, sink: ISink, start: int) -> int:
        """Send a piece of the body from ``start``; return its length, in bytes."""
        data = await self._read(start, min(self._piece, self._end - start))
        if not self._is_closed:
            sink.write(data)
        return len(data)

    def pause(self) -> None:
        """See `IStream.pause`."""
        if self._resumed is None and not self._is_closed:
            self._resumed = Deferred()

    def resume(self) -> None:
        """See `IStream.resume`."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def close(self) -> None:
        """See `IStream.close`: a read in progress is not cancelled."""
        if self._is_closed:
            return
        self._is_closed = True
        self.resume()
        if not self._is_started:
            self._release()
