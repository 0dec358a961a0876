# -*- test-case-name: tests.images.test_stores -*-
"""A store of images in memory."""

from __future__ import annotations

import hashlib

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from devlxd.images.file_names import parts_of
from devlxd.interfaces import IImageStore, ImageError, IOpenImage
from devlxd.model import Image


@implementer(IImageStore)
class MemoryImageStore:
    """A store in memory, whose images are added by `put`.

    :ivar open_images: the images that are open: one entry for each image that
        `open` returned and that is not closed yet.
    """

    def __init__(self) -> None:
        self._images: dict[str, tuple[Image, bytes]] = {}
        self._private: set[str] = set()
        self.open_images: list[Image] = []

    def put(
        self,
        *data: bytes,
        filename: str = "",
        modified: int = 0,
        public: bool = True,
    ) -> str:
        """Add an image, or replace it.

        :param data: the only file of a unified image, or the two files of a
            split image: metadata, root file system.
        :param filename: the filename of a unified image; default: made from
            the fingerprint.
        :param modified: when the image was modified, in seconds since 1970.
        :param public: whether the image can be opened.
        :return: the fingerprint of the image.
        """
        fingerprint = hashlib.sha256(b"".join(data)).hexdigest()
        parts = parts_of(fingerprint, data, [len(part) for part in data], filename)
        image = Image(fingerprint, parts, modified)
        self._images[fingerprint] = (image, b"".join(data))
        if public:
            self._private.discard(fingerprint)
        else:
            self._private.add(fingerprint)
        return fingerprint

    def remove(self, fingerprint: str) -> None:
        """Remove an image; where it is open, it stays readable."""
        del self._images[fingerprint]

    def open(self, fingerprint: str) -> Deferred[IOpenImage | None]:
        """See `IImageStore.open`."""
        found = self._images.get(fingerprint)
        if found is None or fingerprint in self._private:
            return succeed(None)
        return succeed(_OpenMemoryImage(*found, self.open_images))


@implementer(IOpenImage)
class _OpenMemoryImage:
    """An open image whose data is in memory."""

    is_seekable = True

    def __init__(self, image: Image, data: bytes, open_images: list[Image]) -> None:
        self.image = image
        self._data = data
        self._open_images = open_images
        open_images.append(image)

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """See `IOpenImage.read`."""
        data = self._data[start : start + size]
        return succeed(data) if data else fail(ImageError("read past the end"))

    def close(self) -> None:
        """See `IOpenImage.close`."""
        self._open_images.remove(self.image)
