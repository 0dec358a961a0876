# -*- test-case-name: tests.images.test_upstream_export -*-
"""Reading a multipart response (RFC 7578) part by part, as its data arrives."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from devlxd.images.image_errors import require
from devlxd.images.response_reader import ResponseReader
from devlxd.interfaces import ImageError


class MultipartReader:
    """A reader of the parts of a multipart response, in their order.

    :param reader: reads the body.
    :param boundary: the ``boundary`` of its ``Content-Type``.
    :raises ImageError: if the boundary is not valid. Each method raises it if the
        body is malformed or incomplete, or does not have the expected parts.
    """

    def __init__(self, reader: ResponseReader, boundary: str) -> None:
        self._reader = reader
        #: Parsed items that have not been read yet: for each part its head, its
        #: data in chunks, and ``None`` at its end.
        self._parsed: deque[MultipartSegment | bytes | None] = deque()
        try:
            self._parser = PushMultipartParser(boundary, strict=True)
        except MultipartError as error:
            raise ImageError(f"malformed multipart body: {error}") from None

    async def read_head(self, names: Sequence[str]) -> tuple[str, str]:
        """Read the head of the next part.

        :param names: the names that this part may have.
        :return: its name, and its filename (``""`` if it has none).
        """
        head = await self._next()
        if not isinstance(head, MultipartSegment) or head.name not in names:
            raise ImageError(f"LXD sent no part named {' or '.join(names)}")
        return head.name, head.filename or ""

    async def read_data(self) -> bytes:
        """Return the next chunk of the current part, or ``b""`` at its end."""
        data = await self._next()
        if isinstance(data, MultipartSegment):
            raise ImageError("LXD sent a part inside another part")
        # multipart before 2.0 returns a bytearray, which transports refuse.
        return bytes(data or b"")

    async def _next(self) -> MultipartSegment | bytes | None:
        while not self._parsed:
            chunk = await self._reader.read()
            require(bool(chunk), "LXD sent fewer parts than expected")
            try:
                self._parsed.extend(self._parser.parse(chunk))
            except MultipartError as error:
                raise ImageError(f"malformed multipart body: {error}") from None
        return self._parsed.popleft()
