# -*- test-case-name: tests.guestapi.test_image_body -*-
"""An image as the body of a response, in the form that LXD sends.

A unified image (one file) is sent as it is, a split one as
``multipart/form-data`` (RFC 7578). The boundary is derived from the fingerprint:
the same image always has the same bytes, so that a download can be resumed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import quote

from attrs import frozen

from devlxd.httpserver.responses import Headers
from devlxd.interfaces import IFileImage, IOpenImage
from devlxd.model import FileRange, Image, ImagePart

_BINARY = b"application/octet-stream"

#: A filename that needs no quoting in a header.
_PLAIN = re.compile(r"[A-Za-z0-9_.+~-]+", re.ASCII)

#: How long a boundary is, in hex digits: as long as those of LXD.
_BOUNDARY_LENGTH = 60


@frozen
class _Data:
    """A range of the data of an image.

    :ivar start: the offset of the first byte.
    :ivar size: the length of the range, in bytes.
    """

    start: int
    size: int

    def __len__(self) -> int:
        """Return the length of the range, in bytes."""
        return self.size


@frozen
class ImageBody:
    """The body of a response that contains an image.

    :ivar image: the image.
    :ivar headers: the headers that describe the form of the body.
    """

    image: Image
    headers: Headers
    _opened: IOpenImage
    _sections: Sequence[bytes | _Data]

    @property
    def size(self) -> int:
        """The length of the body, in bytes."""
        return sum(map(len, self._sections))

    @property
    def is_seekable(self) -> bool:
        """Whether the body can be read from any offset."""
        return self._opened.is_seekable

    async def read(self, start: int, size: int) -> bytes:
        """Return at least one and at most ``size`` bytes of the body, from ``start``.

        :raises ImageError: if they cannot be read.
        """
        section, start = self._section_at(start)
        if isinstance(section, bytes):
            return section[start : start + size]
        size = min(size, len(section) - start)
        return await self._opened.read(section.start + start, size)

    async def load(self, start: int, size: int) -> FileRange | None:
        """Prepare to send from a file; see `IFileImage.load`.

        :return: ``None`` for anything that is not data of a file.
        :raises ImageError: if the image has changed.
        """
        section, start = self._section_at(start)
        opened = IFileImage(self._opened, None)
        if opened is None or isinstance(section, bytes):
            return None
        size = min(size, len(section) - start)
        return await opened.load(section.start + start, size)

    def _section_at(self, start: int) -> tuple[bytes | _Data, int]:
        """Return the section that contains an offset, and the offset within it."""
        for section in self._sections:
            if start < len(section):
                break
            start -= len(section)
        return section, start


def body_of(opened: IOpenImage) -> ImageBody:
    """Return the body of a response that contains an open image."""
    image = opened.image
    if len(image.parts) > 1:
        return _split_body(opened, image)
    (part,) = image.parts
    headers = (
        (b"Content-Type", _BINARY),
        (b"Content-Disposition", _disposition(part.filename)),
        _accept_ranges(opened),
    )
    return ImageBody(image, headers, opened, [_Data(0, part.size)])


def _accept_ranges(opened: IOpenImage) -> tuple[bytes, bytes]:
    return (b"Accept-Ranges", b"bytes" if opened.is_seekable else b"none")


def _split_body(opened: IOpenImage, image: Image) -> ImageBody:
    digest = hashlib.sha256(b"boundary of " + image.fingerprint.encode("ascii"))
    boundary = digest.hexdigest()[:_BOUNDARY_LENGTH].encode("ascii")
    sections: list[bytes | _Data] = []
    start = 0
    for part in image.parts:
        line_end = b"\r\n" if sections else b""
        sections.append(line_end + b"--%b\r\n%b" % (boundary, _part_head(part)))
        sections.append(_Data(start, part.size))
        start += part.size
    sections.append(b"\r\n--%b--\r\n" % boundary)
    content_type = b"multipart/form-data; boundary=" + boundary
    headers = ((b"Content-Type", content_type), _accept_ranges(opened))
    return ImageBody(image, headers, opened, sections)


def _part_head(part: ImagePart) -> bytes:
    filename = part.filename if _PLAIN.fullmatch(part.filename) else part.name
    disposition = f'form-data; name="{part.name}"; filename="{filename}"'
    return b"Content-Disposition: %b\r\nContent-Type: %b\r\n\r\n" % (
        disposition.encode("ascii"),
        _BINARY,
    )


def _disposition(filename: str) -> bytes:
    """Return ``Content-Disposition``: as LXD writes it, or encoded (RFC 8187)."""
    if _PLAIN.fullmatch(filename):
        return b"inline;filename=" + filename.encode("ascii")
    return b"inline;filename*=UTF-8''" + quote(filename, safe="").encode("ascii")
