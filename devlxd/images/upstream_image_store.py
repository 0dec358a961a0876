# -*- test-case-name: tests.images.test_upstream_image_store -*-
"""A store of the images of an LXD or Incus that runs on the same host.

Here "LXD" means that upstream server, not the dialect of the guest API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NoReturn

from twisted.internet.defer import Deferred
from twisted.web.iweb import IAgent
from zope.interface import implementer

from devlxd.images.image_errors import require
from devlxd.images.upstream_client import UpstreamClient
from devlxd.images.upstream_export import ImageExport, fetch_export
from devlxd.images.upstream_records import ImageRecord, fetch_record
from devlxd.interfaces import IDevLXDReactor, IImageStore, ImageError, IOpenImage
from devlxd.limits import CurrentLimits
from devlxd.model import Image, ImagePart

#: The maximum number of images whose parts are remembered.
MAX_REMEMBERED = 1000


@implementer(IImageStore)
class LXDImageStore:
    """The public and the cached images of an LXD.

    The store asks LXD whenever an image is opened. It remembers only the names and
    sizes of the parts of an image, as long as the size of the image stays the same.

    :param path: the path of LXD's own socket, such as
        ``/var/lib/lxd/unix.socket``.
    :param reactor: for connections and timeouts.
    :param agent: sends the requests; default: one that uses the socket.
    :param limits: how long the LXD may take; default: the usual times. To open an image
        includes to read all metadata of a split one.
    """

    def __init__(
        self,
        path: str,
        reactor: IDevLXDReactor,
        agent: IAgent | None = None,
        limits: CurrentLimits | None = None,
    ) -> None:
        self.path = path
        self._reactor = reactor
        self._client = UpstreamClient(path, reactor, agent, limits)
        self._parts: dict[str, tuple[ImagePart, ...]] = {}

    def open(self, fingerprint: str) -> Deferred[IOpenImage | None]:
        """See `IImageStore.open`."""
        opening = Deferred.fromCoroutine(self._open(fingerprint))
        timeout = self._client.limits.value.lxd_open_timeout
        return opening.addTimeout(timeout, self._reactor, _open_timed_out)

    def reload(self) -> None:
        """Forget what is known about images."""
        self._parts.clear()

    async def _open(self, fingerprint: str) -> IOpenImage | None:
        record = await fetch_record(self._client, fingerprint)
        if record is None:
            return None
        parts = self._parts.get(fingerprint, ())
        if sum(part.size for part in parts) != record.size:
            parts = await self._fetch_parts(record)
            self._remember(fingerprint, parts)
        image = Image(fingerprint, parts, record.modified)
        return _OpenUpstreamImage(image, self._client, self._forget)

    async def _fetch_parts(self, record: ImageRecord) -> tuple[ImagePart, ...]:
        """Fetch the names and sizes of the parts of an image.

        The record does not contain them, so this starts an export.
        """
        export = await fetch_export(self._client, record.fingerprint, 0, 1)
        try:
            if export.is_split:
                return await export.read_parts(record.size)
            export.check_range(0, 1, record.size)
            filename = export.filename or record.fingerprint
            return (ImagePart("", filename, record.size),)
        finally:
            export.close()

    def _remember(self, fingerprint: str, parts: tuple[ImagePart, ...]) -> None:
        if len(self._parts) >= MAX_REMEMBERED:
            del self._parts[next(iter(self._parts))]
        self._parts[fingerprint] = parts

    def _forget(self, fingerprint: str) -> None:
        self._parts.pop(fingerprint, None)


def _open_timed_out(result: object, seconds: float) -> NoReturn:
    raise ImageError(f"LXD took more than {seconds:.0f} s to describe the image")


@implementer(IOpenImage)
class _OpenUpstreamImage:
    """An image of an LXD, downloaded only while it is read.

    :param image: the image.
    :param client: connects to LXD.
    :param forget: called with the fingerprint when a read fails, because the parts
        that the store remembers may be outdated.
    """

    def __init__(
        self, image: Image, client: UpstreamClient, forget: Callable[[str], None]
    ) -> None:
        self.image = image
        self.is_seekable = len(image.parts) == 1
        self._client = client
        self._forget = forget
        self._export: ImageExport | None = None
        self._position = 0
        self._rest = b""

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """See `IOpenImage.read`."""
        return Deferred.fromCoroutine(self._read(start, size))

    async def _read(self, start: int, size: int) -> bytes:
        try:
            if self._export is None or start != self._position:
                await self._start_export(start)
            if not self._rest:
                self._rest = await self._next_chunk()
            data, self._rest = self._rest[:size], self._rest[size:]
            self._position += len(data)
            if self._position == self.image.size:
                # The last bytes are returned only if LXD sends no more.
                # Otherwise a longer image would appear to be complete.
                await self._check_end()
        except ImageError:
            self._forget(self.image.fingerprint)
            raise
        return data

    async def _start_export(self, start: int) -> None:
        """Close the current export, and start one at an offset."""
        self.close()
        image = self.image
        export = await fetch_export(self._client, image.fingerprint, start, image.size)
        self._export = export
        self._position = start
        self._rest = b""
        self._chunks: AsyncIterator[bytes] = export.data(image.parts)
        require(export.is_split != self.is_seekable, "LXD sent another image")
        if self.is_seekable:
            export.check_range(start, image.size, image.size)
        elif start:
            raise ImageError("a split image of LXD is readable from its beginning only")

    async def _next_chunk(self) -> bytes:
        chunk = await anext(self._chunks, b"")
        require(bool(chunk), "LXD sent less data than the size of the image")
        return chunk

    async def _check_end(self) -> None:
        chunk = await anext(self._chunks, b"")
        require(not chunk, "LXD sent more data than the size of the image")

    def close(self) -> None:
        """See `IOpenImage.close`."""
        if self._export is not None:
            self._export.close()
            self._export = None
