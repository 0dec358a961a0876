# -*- test-case-name: tests.images.test_stores -*-
"""Images in memory."""

from __future__ import annotations

import hashlib

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from devlxd.images.file_names import parts_of
from devlxd.interfaces import IImageStore, ImageError, IOpenImage
from devlxd.model import Image


@implementer(IImageStore)
class MemoryImageStore:
    """Has the images that were put into it.

    :ivar open_images: those that somebody has open, as often as they are.
    """

    def __init__(self) -> None:
        self._images: dict[str, tuple[Image, bytes]] = {}
        self.open_images: list[Image] = []

    def put(self, *data: bytes, filename: str = "", modified: int = 0) -> str:
        """Put in an image that everybody may have.

        :param data: its one file, or the two of a split image.
        :param filename: what guests may call it, if it is one file.
        :param modified: since when it is there, in seconds since 1970.
        :return: its fingerprint.
        """
        fingerprint = hashlib.sha256(b"".join(data)).hexdigest()
        parts = parts_of(fingerprint, data, [len(part) for part in data], filename)
        image = Image(fingerprint, parts, modified)
        self._images[fingerprint] = (image, b"".join(data))
        return fingerprint

    def remove(self, fingerprint: str) -> None:
        """Take an image out; who has it open can read it to its end."""
        del self._images[fingerprint]

    def open(self, fingerprint: str) -> Deferred[IOpenImage | None]:
        """See `IImageStore.open`."""
        found = self._images.get(fingerprint)
        return succeed(_OpenBytes(*found, self.open_images) if found else None)


@implementer(IOpenImage)
class _OpenBytes:
    """Bytes that are read as if they had to be fetched."""

    is_seekable = True

    def __init__(self, image: Image, data: bytes, open_images: list[Image]) -> None:
        self.image = image
        self._data = data
        self._open_images = open_images
        open_images.append(image)

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """See `IOpenImage.read`."""
        data = self._data[start : start + size]
        return succeed(data) if data else fail(ImageError("there is no more"))

    def close(self) -> None:
        """See `IOpenImage.close`."""
        self._open_images.remove(self.image)
