# -*- test-case-name: tests.test_model -*-
"""An image, without its data."""

from __future__ import annotations

import re

from attrs import frozen

_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_fingerprint(text: str) -> bool:
    """Return whether ``text`` has the form of the fingerprint of an image.

    A fingerprint is a SHA-256, written as 64 lower-case hex digits.
    """
    return _FINGERPRINT.fullmatch(text) is not None


@frozen
class ImagePart:
    """One file of an image.

    :ivar name: ``metadata``, ``rootfs`` (of a container) or ``rootfs.img`` (of
        a virtual machine) in a split image; empty in an image of one file.
    :ivar filename: the name under which guests save it.
    :ivar size: its size, in bytes.
    """

    name: str
    filename: str
    size: int


@frozen
class Image:
    """The description of an image, without its data.

    :ivar fingerprint: the SHA-256 of the data of all parts, in their order, as
        64 lower-case hex digits.
    :ivar parts: the only file of a unified image, or the two files of a split
        image: metadata, root file system.
    :ivar modified: the time of its last change, in seconds since 1970.
    """

    fingerprint: str
    parts: tuple[ImagePart, ...]
    modified: int

    @property
    def size(self) -> int:
        """The size of all parts together, in bytes."""
        return sum(part.size for part in self.parts)


@frozen
class FileRange:
    """A part of an open file.

    :ivar descriptor: the file descriptor. Its offset is not used.
    :ivar start: the offset of the first byte in the file.
    :ivar size: the length of the part, in bytes; at least 1.
    """

    descriptor: int
    start: int
    size: int
