# -*- test-case-name: tests.images.test_directory_image_store -*-
"""A store of the images in a directory of the host.

`devlxd.images.file_names` describes the layout of the directory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.files import open_regular
from devlxd.images.descriptions import (
    Description,
    DescriptionError,
    read_description,
    read_description_file,
)
from devlxd.images.file_names import (
    HEAD_SIZE,
    description_path,
    image_paths,
    parts_of,
    rootfs_path,
)
from devlxd.interfaces import IDevLXDReactor, IImageStore, ImageError, IOpenImage
from devlxd.limits import CurrentLimits
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Image

#: The flag of ``preadv2(2)`` to read only what is in the page cache. Python has the
#: name only if the C library that it was built with has it.
_RWF_NOWAIT = 8

#: Errors that are not caused by the file to be opened.
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

#: How often to try to open an image whose files are being replaced.
_MAX_ATTEMPTS = 5


class _UnusableError(Exception):
    """Raised for files that are not a usable image; the text gives the reason."""


@implementer(IImageStore)
class DirectoryImageStore:
    """The public and the cached images in a directory.

    The store never writes to the directory, and follows no symbolic links in it.
    Because disks may be slow, it accesses them in the reactor's thread pool. Only
    data in the page cache is read in the reactor's own thread.

    :param directory: the directory of images. It need not exist yet.
    :param reactor: for its threads, and for the time.
    :param limits: how many log lines guests may cause; default: the usual number.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        reactor: IDevLXDReactor,
        limits: CurrentLimits | None = None,
    ) -> None:
        self.directory = directory
        self._reactor = reactor
        self._limited_log = RateLimitedLogger(self._log, reactor, limits)

    def open(self, fingerprint: str) -> Deferred[IOpenImage | None]:
        """See `IImageStore.open`.

        Files that are not a usable image are treated as missing; the reason is
        logged.
        """
        opening: Deferred[IOpenImage | None] = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), self._open, fingerprint
        )
        return opening.addErrback(self._log_unusable, fingerprint)

    def _log_unusable(self, failure: Failure, fingerprint: str) -> None:
        failure.trap(_UnusableError)
        self._limited_log.warn(
            "image {fingerprint} is not served: {reason}",
            of=fingerprint,
            fingerprint=fingerprint,
            reason=str(failure.value),
        )

    def _open(self, fingerprint: str) -> IOpenImage | None:
        """Open an image. Called in a thread."""
        try:
            description = _description(description_path(self.directory, fingerprint))
            if not (description.public or description.cached):
                return None
            with ExitStack() as opened:
                files = self._open_files(fingerprint, opened)
                image = _image(fingerprint, description, files)
                opened.pop_all()
        except OSError as error:
            path = error.filename or self.directory / fingerprint
            reason = f"{path}: {_reason(error)}"
            if error.errno in _OUT_OF_RESOURCES:
                raise ImageError(reason) from None
            raise _UnusableError(reason) from None
        return _OpenDirectoryImage(image, files, self._reactor)

    def _open_files(self, fingerprint: str, opened: ExitStack) -> Sequence[_File]:
        """Open all files of an image as they were at one point in time.

        :param opened: will close the files.
        """
        for _ in range(_MAX_ATTEMPTS):
            paths = self._paths(fingerprint)
            files = [_File.open(path, opened) for path in paths]
            in_place = all(file.is_in_place() for file in files)
            if in_place and self._paths(fingerprint) == paths:
                return files
            opened.close()
        path = self.directory / fingerprint
        raise _UnusableError(f"{path}: replaced again and again while it was opened")

    def _paths(self, fingerprint: str) -> list[Path]:
        """Return the paths of the files of an image.

        :raises _UnusableError: if there are none, or too many.
        """
        paths = image_paths(self.directory, fingerprint)
        if len(paths) > 1:
            found = " and ".join(str(path) for path in paths)
            raise _UnusableError(f"{found}: more than one file for the image")
        if not paths:
            raise _UnusableError(f"{self.directory / fingerprint}: no such file")
        rootfs = rootfs_path(self.directory, fingerprint)
        return [*paths, rootfs] if os.path.lexists(rootfs) else paths


def _description(path: Path) -> Description:
    """Read a description; without a file the image is neither public nor cached."""
    content = read_description_file(path)
    if content is None:
        return Description()
    try:
        return read_description(content)
    except DescriptionError as error:
        line = "" if error.line is None else f":{error.line}"
        raise _UnusableError(f"{path}{line}: {error}") from None


@frozen
class _File:
    """An open file of an image.

    :ivar status: the status of the file when it was opened.
    """

    path: Path
    fd: int
    status: os.stat_result

    @classmethod
    def open(cls, path: Path, opened: ExitStack) -> _File:
        """Open a file.

        :param opened: will close the file.
        :raises OSError: if it cannot be opened.
        :raises _UnusableError: if it is empty.
        """
        fd = open_regular(path, os.O_NOFOLLOW)
        opened.callback(os.close, fd)
        status = os.fstat(fd)
        if not status.st_size:
            raise _UnusableError(f"{path}: empty file")
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

        :raises ImageError: if there is no data, or the file has changed.
        """
        try:
            return self._checked(os.pread(self.fd, size, start))
        except OSError as error:
            raise ImageError(f"{self.path}: {_reason(error)}") from None

    def read_cached(self, start: int, size: int) -> bytes:
        """Read at an offset, from the page cache only. This does not block.

        :return: ``b""`` if the read would block or fails, or is not supported.
        :raises ImageError: if there is no data, or the file has changed.
        """
        data = bytearray(size)
        try:
            length = os.preadv(self.fd, [data], start, _RWF_NOWAIT)
        except OSError:
            return b""
        return self._checked(bytes(memoryview(data)[:length]))

    def _checked(self, data: bytes) -> bytes:
        now, then = os.fstat(self.fd), self.status
        if data and (now.st_size, now.st_mtime_ns) == (then.st_size, then.st_mtime_ns):
            return data
        raise ImageError(f"{self.path}: changed while it was read")

    def is_in_place(self) -> bool:
        """Return whether the path still leads to this file."""
        try:
            return os.path.samestat(os.lstat(self.path), self.status)
        except FileNotFoundError:
            return False


def _image(fingerprint: str, description: Description, files: Sequence[_File]) -> Image:
    heads = [file.head() for file in files]
    sizes = [file.size for file in files]
    path = files[0].path
    filename = description.filename or (path.name if path.suffix else "")
    parts = parts_of(fingerprint, heads, sizes, filename)
    modified = max(int(file.status.st_mtime) for file in files)
    return Image(fingerprint, parts, max(modified, 0))


@implementer(IOpenImage)
class _OpenDirectoryImage:
    """The open files of an image, which stay readable when they are removed."""

    is_seekable = True

    def __init__(
        self, image: Image, files: Iterable[_File], reactor: IDevLXDReactor
    ) -> None:
        self.image = image
        self._files = files
        self._reactor = reactor

    def read(self, start: int, size: int) -> Deferred[bytes]:
        """See `IOpenImage.read`."""
        for file in self._files:
            if start < file.size:
                break
            start -= file.size
        size = min(size, file.size - start)
        try:
            data = file.read_cached(start, size)
        except ImageError:
            return fail()
        if data:
            return succeed(data)
        threads = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, threads, file.read, start, size)

    def close(self) -> None:
        """See `IOpenImage.close`.

        The files are closed in a thread: closing a removed file frees its space
        on the disk, which takes long for a large file.
        """
        threads = self._reactor.getThreadPool()
        for file in self._files:
            threads.callInThread(os.close, file.fd)


def _reason(error: OSError) -> str:
    # With O_NOFOLLOW, open(2) fails with ELOOP on a symbolic link.
    if error.errno == errno.ELOOP:
        return "a symbolic link"
    return error.strerror or str(error)
