# -*- test-case-name: tests.images.test_directory_image_store -*-
"""The open files of an image in a directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from devlxd.files import open_regular
from devlxd.images.file_names import HEAD_SIZE
from devlxd.interfaces import IDevLXDReactor, IFileImage, ImageError
from devlxd.model import FileRange, Image

#: The flag of ``preadv2(2)`` to read only what is in the page cache. Python has the
#: name only if the C library that it was built with has it.
_RWF_NOWAIT = 8

#: How much the first system call loads into the page cache, in bytes. Each further call
#: has four times as much: at the end of each, the reactor thread may have to wait.
_LOAD_SIZE = 1024 * 1024

#: After which time no further call begins, in seconds: others need the threads.
_LOAD_TIME = 0.005


class UnusableError(Exception):
    """Raised for files that are not a usable image; the text gives the reason."""


@frozen
class ImageFile:
    """An open file of an image.

    :ivar status: the status of the file when it was opened.
    """

    path: Path
    fd: int
    status: os.stat_result

    @classmethod
    def open(cls, path: Path, opened: ExitStack) -> ImageFile:
        """Open a file.

        :param opened: will close the file.
        :raises OSError: if it cannot be opened.
        :raises UnusableError: if it is empty.
        """
        fd = open_regular(path, os.O_NOFOLLOW)
        opened.callback(os.close, fd)
        status = os.fstat(fd)
        if not status.st_size:
            raise UnusableError(f"{path}: empty file")
        return cls(path, fd, status)

    @property
    def size(self) -> int:
        """The size of the file when it was opened, in bytes."""
        return self.status.st_size

    def head(self) -> bytes:
        """Return the first bytes of the file, which determine its format."""
        return os.pread(self.fd, HEAD_SIZE, 0)

    def read(self, start: int, size: int) -> bytes:
        """Read at an offset. This may block.

        :raises ImageError: if there is no data.
        """
        try:
            data = os.pread(self.fd, size, start)
        except OSError as error:
            raise ImageError(f"{self.path}: {reason_of(error)}") from None
        if not data:
            raise self._changed()
        return data

    def read_cached(self, start: int, size: int) -> bytes:
        """Read at an offset, from the page cache only. This does not block.

        :return: ``b""`` if the read would block or fails, or is not supported; or if
            there is no data.
        """
        data = bytearray(size)
        try:
            length = os.preadv(self.fd, [data], start, _RWF_NOWAIT)
        except OSError:
            return b""
        return bytes(memoryview(data)[:length])

    def load(self, start: int, size: int) -> int:
        """Read at an offset into the page cache only. This may block.

        :return: how much has been loaded from ``start``, in bytes; 0 if it cannot be
            loaded. After a few milliseconds, no further call to load begins.
        """
        end, loaded, most = monotonic() + _LOAD_TIME, 0, _LOAD_SIZE
        try:
            # To /dev/null, the kernel passes pages and copies nothing.
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            try:
                while loaded < size and (not loaded or monotonic() < end):
                    part = min(most, size - loaded)
                    sent = os.sendfile(null, self.fd, start + loaded, part)
                    if not sent:
                        break
                    loaded += sent
                    most *= 4
            finally:
                os.close(null)
        except OSError:
            return 0
        # Some file systems have no page cache, or do not say what is in it.
        return loaded if loaded and self.read_cached(start + loaded - 1, 1) else 0

    def check(self) -> None:
        """Check that the file has not been written to since it was opened.

        :raises ImageError: if it has.
        """
        now, then = os.fstat(self.fd), self.status
        if (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns):
            raise self._changed()

    def _changed(self) -> ImageError:
        return ImageError(f"{self.path}: changed while it was read")

    def is_in_place(self) -> bool:
        """Return whether the path still leads to this file."""
        try:
            return os.path.samestat(os.lstat(self.path), self.status)
        except FileNotFoundError:
            return False


@implementer(IFileImage)
class OpenDirectoryImage:
    """The open files of an image, which stay readable when they are removed.

    :param image: the image.
    :param files: its files, which `close` closes.
    :param reactor: for its threads.
    """

    is_seekable = True

    def __init__(
        self, image: Image, files: Sequence[ImageFile], reactor: IDevLXDReactor
    ) -> None:
        self.image = image
        self._files = files
        self._reactor = reactor
        self._threads = reactor.getThreadPool()
        self._is_loadable = True

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """See `IOpenImage.read`."""
        file, start, size = self._find(start, size)
        data = file.read_cached(start, size)
        if not data:
            return deferToThreadPool(
                self._reactor, self._threads, self._read, file, start, size
            )
        try:
            self._check()
        except ImageError:
            return fail()
        return succeed(data)

    def load(self, start: int, size: int) -> Deferred[FileRange | None]:
        """See `IFileImage.load`."""
        if not self._is_loadable:
            return succeed(None)
        return deferToThreadPool(
            self._reactor, self._threads, self._load, *self._find(start, size)
        )

    def _find(self, start: int, size: int) -> tuple[ImageFile, int, int]:
        """Return the file of a part of the image, and what of the part is in it."""
        for file in self._files:
            if start < file.size:
                break
            start -= file.size
        return file, start, min(size, file.size - start)

    def _read(self, file: ImageFile, start: int, size: int) -> bytes:
        data = file.read(start, size)
        self._check()
        return data

    def _load(self, file: ImageFile, start: int, size: int) -> FileRange | None:
        loaded = file.load(start, size)
        self._check()
        self._is_loadable = bool(loaded)
        return FileRange(file.fd, start, loaded) if loaded else None

    def _check(self) -> None:
        """Check all files: the client may not have received what was sent of others.

        :raises ImageError: if one has been written to.
        """
        for file in self._files:
            file.check()

    def close(self) -> None:
        """See `IOpenImage.close`.

        The files are closed in a thread: closing a removed file frees its space
        on the disk, which takes long for a large file.
        """
        for file in self._files:
            self._threads.callInThread(os.close, file.fd)


def reason_of(error: OSError) -> str:
    """Return the text for an error of a file that was opened with ``O_NOFOLLOW``."""
    # open(2) fails with ELOOP on a symbolic link.
    if error.errno == errno.ELOOP:
        return "a symbolic link"
    return error.strerror or str(error)
