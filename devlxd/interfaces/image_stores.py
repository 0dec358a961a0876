"""Seams of what can be downloaded: stores of images."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from devlxd.model import (
    Image,
)


class ImageError(Exception):
    """An image cannot be had; the text says why, for the log only."""


class IImageStore(Interface):
    """Where images come from."""

    def open(fingerprint: str) -> Deferred[IOpenImage | None]:
        """Open an image that every guest may have: a public or a cached one.

        It fires in the end, whatever happens: nobody cancels it, and a guest
        has only so many downloads. That there is none it tells within a tenth
        of a second, or guests can tell by the time why.

        :param fingerprint: 64 hex digits, lower case.
        :return: what is opened, for the caller to close; ``None`` where there
            is none, or it is neither public nor cached. Fails with
            `ImageError` when there is no telling.
        """


class IOpenImage(Interface):
    """An image as it was when it was opened."""

    image: Image = Attribute("What is known of it.")

    is_seekable: bool = Attribute(
        "Whether reading may begin anywhere; else it begins at 0, and goes on "
        "where it has ended."
    )

    def read(start: int, size: int) -> Deferred[bytes]:
        """Read some of its data: those of all its parts in their order.

        One after the other: nothing may be read, nor may it be closed, while
        this has not fired.

        :param start: where to begin, in bytes, before the end.
        :param size: how much to read at most, in bytes, at least 1.
        :return: at least one byte. Fails with `ImageError` when they cannot be
            had, or are not those of the image that was opened.
        """

    def close() -> None:
        """Let go of it, once; nothing can be read any more."""
