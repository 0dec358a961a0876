# -*- test-case-name: tests.images.test_stores -*-
"""The contracts of `IImageStore`, `IOpenImage` and `IFileImage`."""

from __future__ import annotations

import os
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from devlxd.interfaces import IFileImage, IImageStore, IOpenImage
from devlxd.model import ImagePart
from devlxd.testing.contracts.base import ContractBase

T = TypeVar("T")

#: The data of a unified image, with the first bytes of a gzip file.
UNIFIED = b"\x1f\x8b" + bytes(range(256)) * 1000

#: The data of a split image, with the first bytes of an xz and of a squashfs file.
#: The metadata contain text that resembles a boundary of a multipart body.
METADATA = b"\xfd7zXZ\x00" + b"\r\n--" * 1000

ROOTFS = b"hsqs" + bytes(reversed(range(256))) * 1000


class ImageStoreContract(ContractBase):
    """Tests of a store of images.

    Override `make_store`, `add_image` and `remove_image`; and `settle` if the
    Deferreds of the store do not fire immediately. The file names of the parts of
    an image must be those that LXD uses. Use `PrivateImageContract` for a store
    that has private images too.

    :ivar store: a new store for each test.
    """

    store: IImageStore

    def make_store(self) -> IImageStore:
        """Hook: return a new store without images."""
        raise NotImplementedError

    def add_image(self, *data: bytes) -> str:
        """Hook: add a public image to `store`.

        :param data: the only file of a unified image, or the two files of a
            split image: metadata, root file system.
        :return: the fingerprint of the image.
        """
        raise NotImplementedError

    def remove_image(self, fingerprint: str) -> None:
        """Hook: remove an image from `store`."""
        raise NotImplementedError

    def settle(self) -> None:
        """Hook: make pending Deferreds of the store fire; default: do nothing.

        For a store that needs the network, replace the network by one in memory,
        for example by an agent of `treq.testing`, and deliver its data here.
        """

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the store."""
        super().setUp()
        self.store = self.make_store()

    def result_of(self, deferred: Deferred[T]) -> T:
        """Return the result of a Deferred, which has to fire in `settle`."""
        self.settle()
        return self.successResultOf(deferred)

    def open_image(self, fingerprint: str) -> IOpenImage:
        """Open an image that the store has."""
        opened = self.result_of(self.store.open(fingerprint))
        assert opened is not None
        return opened

    def read_range(self, opened: IOpenImage, start: int, size: int) -> bytes:
        """Read a range of an image, in as many reads as the store needs."""
        data = b""
        while len(data) < size:
            left = size - len(data)
            chunk = self.result_of(opened.read(start + len(data), left))
            self.assertGreater(len(chunk), 0)
            self.assertLessEqual(len(chunk), left)
            self.assertIsInstance(chunk, bytes)
            data += chunk
        return data

    def test_interfaces(self) -> None:
        """The store and its open images provide the interfaces."""
        self.assertTrue(verifyObject(IImageStore, self.store))
        opened = self.open_image(self.add_image(UNIFIED))
        self.assertTrue(verifyObject(IOpenImage, opened))
        opened.close()

    def test_missing(self) -> None:
        """Opening a missing image results in ``None``."""
        self.assertIsNone(self.result_of(self.store.open("0" * 64)))

    def test_unified(self) -> None:
        """A unified image has one part, with the data that were added."""
        fingerprint = self.add_image(UNIFIED)
        opened = self.open_image(fingerprint)
        image = opened.image
        self.assertEqual(image.fingerprint, fingerprint)
        part = ImagePart("", f"{fingerprint}.tar.gz", len(UNIFIED))
        self.assertEqual(image.parts, (part,))
        self.assertEqual(self.read_range(opened, 0, image.size), UNIFIED)
        opened.close()

    def test_split(self) -> None:
        """A split image has two parts, whose data follow each other."""
        fingerprint = self.add_image(METADATA, ROOTFS)
        opened = self.open_image(fingerprint)
        self.assertEqual(
            opened.image.parts,
            (
                ImagePart("metadata", f"meta-{fingerprint}.tar.xz", len(METADATA)),
                ImagePart("rootfs", f"{fingerprint}.squashfs", len(ROOTFS)),
            ),
        )
        data = self.read_range(opened, 0, opened.image.size)
        self.assertEqual(data, METADATA + ROOTFS)
        opened.close()

    def test_seek(self) -> None:
        """If an image is seekable, a read may start at any offset."""
        for files in ((UNIFIED,), (METADATA, ROOTFS)):
            opened = self.open_image(self.add_image(*files))
            if not opened.is_seekable:
                opened.close()
                continue
            data = b"".join(files)
            middle = len(files[0]) - 3
            for start in (len(data) - 1, middle, 0, 7, middle + 3):
                size = min(100, len(data) - start)
                received = self.read_range(opened, start, size)
                self.assertEqual(received, data[start : start + size], start)
            opened.close()

    def test_open_twice(self) -> None:
        """An image can be open more than once at the same time."""
        fingerprint = self.add_image(METADATA, ROOTFS)
        first, second = self.open_image(fingerprint), self.open_image(fingerprint)
        self.assertEqual(first.image, second.image)
        self.read_range(first, 0, 10)
        first.close()
        self.assertEqual(self.read_range(second, 0, 100), METADATA[:100])
        second.close()

    def test_removed(self) -> None:
        """A removed image cannot be opened."""
        fingerprint = self.add_image(UNIFIED)
        self.open_image(fingerprint).close()
        self.remove_image(fingerprint)
        self.assertIsNone(self.result_of(self.store.open(fingerprint)))


class PrivateImageContract(ImageStoreContract):
    """Tests of a store of images, some of which guests may not download.

    Override `add_private_image`, and the hooks of `ImageStoreContract`.
    """

    def add_private_image(self, *data: bytes) -> str:
        """Hook: add an image to `store` that is neither public nor cached.

        :param data: see `ImageStoreContract.add_image`.
        :return: the fingerprint of the image.
        """
        raise NotImplementedError

    def test_private(self) -> None:
        """Opening an image that is not public results in ``None``, too."""
        fingerprint = self.add_private_image(UNIFIED)
        self.assertIsNone(self.result_of(self.store.open(fingerprint)))


class FileImageContract(ImageStoreContract):
    """Tests of a store whose open images are each an `IFileImage`.

    Override the hooks of `ImageStoreContract`. The images must be in files that can be
    loaded into the page cache.
    """

    def load_range(self, opened: IFileImage, start: int, size: int) -> bytes:
        """Load a range of an image, in as many parts as needed, and read its files."""
        data = b""
        while len(data) < size:
            left = size - len(data)
            part = self.result_of(opened.load(start + len(data), left))
            assert part is not None
            self.assertGreater(part.size, 0)
            self.assertLessEqual(part.size, left)
            read = os.pread(part.descriptor, part.size, part.start)
            self.assertEqual(len(read), part.size)
            data += read
        return data

    def open_files(self, *data: bytes) -> IFileImage:
        """Add and open an image."""
        return IFileImage(self.open_image(self.add_image(*data)))

    def test_file_interface(self) -> None:
        """The open images provide `IFileImage`."""
        opened = self.open_files(UNIFIED)
        self.assertTrue(verifyObject(IFileImage, opened))
        opened.close()

    def test_load(self) -> None:
        """What is loaded from any offset is the data of the image."""
        for files in ((UNIFIED,), (METADATA, ROOTFS)):
            opened = self.open_files(*files)
            data = b"".join(files)
            for start in (0, 7, len(files[0]) - 3, len(data) - 1):
                for size in (1, len(data)):
                    end = min(start + size, len(data))
                    loaded = self.load_range(opened, start, end - start)
                    self.assertEqual(loaded, data[start:end], (start, size))
            opened.close()

    def test_load_and_read(self) -> None:
        """Data may be loaded, and other data read, of the same image."""
        opened = self.open_files(METADATA, ROOTFS)
        self.assertEqual(self.load_range(opened, 0, 10), METADATA[:10])
        self.assertEqual(self.read_range(opened, 10, 10), METADATA[10:20])
        self.assertEqual(self.load_range(opened, 20, 10), METADATA[20:30])
        opened.close()
