"""The interfaces of image stores, and of the images that they open."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from devlxd.model import FileRange, Image


class ImageError(Exception):
    """Raised when an image cannot be opened or read.

    The text gives the reason. It is for the log only, never for a guest.
    """


class IImageStore(Interface):
    """A store of images that guests may download."""

    def open(fingerprint: str) -> Deferred[IOpenImage | None]:
        """Open an image that every guest may download: a public or a cached one.

        The Deferred must fire eventually, even after an error: callers do not cancel
        it, and the number of downloads of a container is limited.

        If the result is ``None``, the Deferred must fire within 0.1 s, whatever the
        reason. Otherwise a guest could distinguish a private image from a missing one
        by the response time.

        :param fingerprint: 64 lower-case hex digits.
        :return: a Deferred that fires with an open image, which the caller has
            to close; or with ``None`` if there is no such image, or if it is
            neither public nor cached. It fails with `ImageError` if the store
            cannot find that out, or cannot open the image.
        """


class IOpenImage(Interface):
    """An image as it was when it was opened."""

    image: Image = Attribute("The description of the image.")

    is_seekable: bool = Attribute(
        "Whether a read may start at any offset. If not, the first read starts "
        "at 0, and each further read starts where the previous one ended."
    )

    def read(start: int, size: int) -> Deferred[bytes]:
        """Read from the data of the image: all its parts, one after the other.

        Until the Deferred has fired, the caller may neither call `read` again
        nor call `close`.

        :param start: the offset in bytes, less than the size of the image.
        :param size: the maximum number of bytes, at least 1.
        :return: a Deferred that fires with at least one byte. It fails with
            `ImageError` if the data cannot be read, or if it has changed
            since the image was opened.
        """

    def close() -> None:
        """Close the image. Call this once; afterwards it cannot be read."""


class IFileImage(IOpenImage):
    """An open image whose data is in files, which the kernel can send itself.

    A provider of `IOpenImage` need not provide this: the data is read then.
    """

    def load(start: int, size: int) -> Deferred[FileRange | None]:
        """Prepare data of the image to be sent from its file (``sendfile(2)``).

        The rules for calls of `read` apply to this, too.

        :param start: as for `read`.
        :param size: the maximum number of bytes, at least 1.
        :return: a Deferred that fires with a part of an open file that begins with
            the byte at ``start``. At that moment its data is in the page cache, so
            that sending it does not wait for a disk. Its descriptor stays open until
            `close` is called. It fires with ``None`` if the data can only be read.
            It fails with `ImageError` if the image has changed since it was opened.
        """
