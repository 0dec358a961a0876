# -*- test-case-name: tests.images.test_upstream_export -*-
"""Image exports: the data of one image, as the REST API of LXD sends it.

See ``GET /1.0/images/{fingerprint}/export`` in LXD's REST API documentation,
https://documentation.ubuntu.com/lxd/en/latest/api/. LXD sends

* a unified image as it is, or the range of it that ``Range`` requests;
* a split image as ``multipart/form-data`` with two parts: ``metadata``, and
  ``rootfs`` of a container or ``rootfs.img`` of a virtual machine. It always
  sends all of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from multipart import parse_options_header
from twisted.web import http
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from devlxd.images.image_errors import require
from devlxd.images.multipart_reader import MultipartReader
from devlxd.images.response_reader import ResponseReader
from devlxd.images.upstream_client import UpstreamClient
from devlxd.model import ImagePart

#: The names that the parts of a split image may have.
_METADATA = ("metadata",)
_ROOTFS = ("rootfs", "rootfs.img")


class ImageExport:
    """The response that contains the data of an image.

    :ivar is_split: whether LXD sends a split image.
    :ivar filename: the filename of a unified image; ``""`` if LXD sends none.
    """

    def __init__(self, response: IResponse, reader: ResponseReader) -> None:
        self._response = response
        self._reader = reader
        content_type, options = parse_options_header(self._header(b"Content-Type"))
        self.is_split = content_type == "multipart/form-data"
        self._boundary = options.get("boundary", "")
        _, options = parse_options_header(self._header(b"Content-Disposition"))
        self.filename = options.get("filename", "")

    def _header(self, name: bytes) -> str:
        values: Sequence[bytes] = self._response.headers.getRawHeaders(name, [b""])
        return values[-1].decode("latin-1")

    def close(self) -> None:
        """Stop the download."""
        self._reader.close()

    def check_range(self, start: int, end: int, size: int) -> None:
        """Check that LXD sends the requested range of a unified image.

        :param start: the offset of the first byte.
        :param end: the offset after the last byte.
        :param size: the size of the image, in bytes.
        :raises ImageError: if LXD sends anything else.
        """
        self._require_status(http.PARTIAL_CONTENT)
        expected = f"bytes {start}-{end - 1}/{size}"
        received = self._header(b"Content-Range")
        require(
            received == expected, f"LXD sent the range {received!a}, not {expected}"
        )
        length = self._response.length
        require(length == end - start, f"LXD sends {length} bytes, not {end - start}")

    async def read_parts(self, size: int) -> tuple[ImagePart, ...]:
        """Read the names and sizes of the parts of a split image.

        LXD sends no sizes of parts. The first part is read to its end to find its
        size; the size of the second follows from it. Afterwards the data cannot be
        read from this export.

        :param size: the size of the image, in bytes.
        :raises ImageError: if LXD sends anything else.
        """
        parts = self._parts()
        name, filename = await parts.read_head(_METADATA)
        length = 0
        while data := await parts.read_data():
            length += len(data)
            require(length < size, "LXD sent more data than the size of the image")
        metadata = ImagePart(name, filename, length)
        name, filename = await parts.read_head(_ROOTFS)
        require(length > 0, "LXD sent empty metadata")
        return (metadata, ImagePart(name, filename, size - length))

    async def data(self, parts: Sequence[ImagePart]) -> AsyncIterator[bytes]:
        """Yield the data in chunks. The caller has to check that it is complete.

        :param parts: the expected parts of the image.
        :raises ImageError: if a part of a split image is larger than expected.
        """
        if not self.is_split:
            while data := await self._reader.read():
                yield data
            return
        received = self._parts()
        for part in parts:
            await received.read_head((part.name,))
            left = part.size
            while data := await received.read_data():
                left -= len(data)
                require(left >= 0, f"LXD sent more data than the size of {part.name}")
                yield data

    def _parts(self) -> MultipartReader:
        self._require_status(http.OK)
        return MultipartReader(self._reader, self._boundary)

    def _require_status(self, expected: int) -> None:
        code = self._response.code
        require(code == expected, f"LXD responded with status {code}")


async def fetch_export(
    client: UpstreamClient, fingerprint: str, start: int, end: int
) -> ImageExport:
    """Start to download an image. The caller has to close the export.

    The offsets apply to a unified image only: LXD always sends all of a split image.

    :param start: the offset of the first byte.
    :param end: the offset after the last byte.
    :raises ImageError: if LXD cannot be reached or does not respond.
    """
    headers = Headers({b"Range": [b"bytes=%d-%d" % (start, end - 1)]})
    return ImageExport(*await client.get(f"/1.0/images/{fingerprint}/export", headers))
