# -*- test-case-name: tests.httpserver.test_file_body -*-
"""Bodies whose data is in files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from twisted.internet.defer import Deferred

from devlxd.httpserver.paced_body import PacedBody, Read
from devlxd.interfaces import IFileSink, ISink
from devlxd.model import FileRange

#: Prepares a part of a body to be sent from a file. The arguments are the offset and
#: the maximum length of the part, in bytes. ``None``: the data there has to be read.
Load = Callable[[int, int], Awaitable[FileRange | None]]

#: How much of a file is loaded at a time, in bytes: at least, and at most. It depends
#: on how fast the client reads.
LEAST_LOADED, MOST_LOADED = 512 * 1024, 32 * 1024 * 1024

#: For how long data that was loaded is sent, in seconds.
LOADED_FOR = 1.0


class FileBody(PacedBody):
    """A body that is sent from files, if the sink is an `IFileSink`.

    A part of a file is loaded into the page cache before it is sent, while the part
    before it is sent. What the client does not read in time is loaded again, as the
    kernel may have dropped it.

    The end of the body is always read, and written in pieces. Reading a piece includes
    a check that the files are unchanged. When the last piece is read, the client has
    read all that was sent from a file. Otherwise a file could change between, and the
    client receive wrong data in a response that seems to be complete.

    :param start: see `PacedBody`, as for ``end``, ``read``, ``piece`` and ``release``.
    :param load: prepares a part of the body. An exception ends the response.
    """

    def __init__(
        self,
        start: int,
        end: int,
        read: Read,
        load: Load,
        piece: int,
        release: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(start, end, read, piece, release)
        self._load = load
        self._size = LEAST_LOADED
        # What is being loaded, and its offset in the body.
        self._next: Deferred[FileRange | None] | None = None
        self._next_start = 0

    async def _send_piece(self, sink: ISink, start: int) -> int:
        """See `PacedBody._send_piece`: send from a file, or read."""
        files = IFileSink(sink, None)
        if files is not None:
            sent = await self._send_file(files, start)
            if sent or self._is_closed:
                return sent
            await self._settle()
        return await super()._send_piece(sink, start)

    async def _send_file(self, sink: IFileSink, start: int) -> int:
        """Send from a file; return how many bytes were sent."""
        end = self._end - sink.most_unread - self._piece
        if self._next is None or self._next_start != start:
            await self._settle()
            self._begin_load(start, end)
        data = await self._loaded()
        if data is None or self._is_closed:
            return 0
        self._begin_load(start + data.size, end)
        sent = await sink.send(data, LOADED_FOR)
        self._size = min(max(2 * sent, LEAST_LOADED), MOST_LOADED)
        return sent

    def _begin_load(self, start: int, end: int) -> None:
        """Begin to load data up to ``end``, if there is any."""
        if start < end:
            self._next_start = start
            loading = self._load(start, min(self._size, end - start))
            self._next = Deferred.fromCoroutine(_result_of(loading))

    async def _loaded(self) -> FileRange | None:
        """Wait for what is being loaded, and return it."""
        loading, self._next = self._next, None
        return None if loading is None else await loading

    async def _settle(self) -> None:
        """See `PacedBody._settle`."""
        with suppress(Exception):
            await self._loaded()


async def _result_of(loading: Awaitable[FileRange | None]) -> FileRange | None:
    return await loading
