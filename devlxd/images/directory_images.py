# -*- test-case-name: tests.images.test_directory_images -*-
"""Images in a directory of the host."""

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
from devlxd.images.file_names import (
    HEAD_SIZE,
    MAX_DESCRIPTION,
    Description,
    DescriptionError,
    description_path,
    image_paths,
    parts_of,
    read_description,
    rootfs_path,
)
from devlxd.interfaces import IDevLXDReactor, IImageStore, ImageError, IOpenImage
from devlxd.loglimit import RateLimitedLogger
from devlxd.model import Image

#: From ``linux/fs.h``, since Linux 4.14: read what need not be waited for. Not
#: every C library tells Python of it.
_RWF_NOWAIT = 8

#: Errors that have nothing to do with what was to be opened.
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

#: How often an image is opened anew that is replaced in the meantime.
_TRIES = 5


class _UnusableError(Exception):
    """Something that should be an image is none; the text says why."""


@implementer(IImageStore)
class DirectoryImageStore:
    """The images in a directory, as `devlxd.images.file_names` tells.

    Disks may be slow: all that has to do with them is done in the reactor's
    threads, but for reading what is in memory already. Nothing is written, and
    no link in the directory is followed.

    :param directory: where they lie. It need not be there yet.
    :param reactor: for its threads, and for the time.
    """

    _log = Logger()

    def __init__(self, directory: Path, reactor: IDevLXDReactor) -> None:
        self.directory = directory
        self._reactor = reactor
        self._limited_log = RateLimitedLogger(self._log, reactor)

    def open(self, fingerprint: str) -> Deferred[IOpenImage | None]:
        """See `IImageStore.open`; what is no image is for the log."""
        opening: Deferred[IOpenImage | None] = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), self._open, fingerprint
        )
        return opening.addErrback(self._log_unusable, fingerprint)

    def _log_unusable(self, failure: Failure, fingerprint: str) -> None:
        failure.trap(_UnusableError)
        self._limited_log.warn(
            "no image: {reason}", of=fingerprint, reason=str(failure.value)
        )

    def _open(self, fingerprint: str) -> IOpenImage | None:
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
            if error.errno in _OUT_OF:
                raise ImageError(reason) from None
            raise _UnusableError(reason) from None
        return _OpenFiles(image, files, self._reactor)

    def _open_files(self, fingerprint: str, opened: ExitStack) -> Sequence[_File]:
        """Open the files of an image, all of them as they lay at one moment."""
        for _ in range(_TRIES):
            paths = self._paths(fingerprint)
            files = [_File.open(path, opened) for path in paths]
            in_place = all(file.is_in_place() for file in files)
            if in_place and self._paths(fingerprint) == paths:
                return files
            opened.close()
        path = self.directory / fingerprint
        raise _UnusableError(f"{path}: it is replaced again and again")

    def _paths(self, fingerprint: str) -> list[Path]:
        """Find the files of an image.

        :raises _UnusableError: when they are none, or too many.
        """
        paths = image_paths(self.directory, fingerprint)
        if len(paths) > 1:
            found = " and ".join(str(path) for path in paths)
            raise _UnusableError(f"{found}: more than one file for the image")
        if not paths:
            raise _UnusableError(f"{self.directory / fingerprint}: there is none")
        rootfs = rootfs_path(self.directory, fingerprint)
        return [*paths, rootfs] if os.path.lexists(rootfs) else paths


def _description(path: Path) -> Description:
    """Read a description; without one, nobody may have the image."""
    try:
        fd = open_regular(path, os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return Description()
    with open(fd, "rb") as file:
        content = file.read(MAX_DESCRIPTION + 1)
    try:
        return read_description(content)
    except DescriptionError as error:
        line = "" if error.line is None else f":{error.line}"
        raise _UnusableError(f"{path}{line}: {error}") from None


@frozen
class _File:
    """An open file, and what it was when it was opened."""

    path: Path
    fd: int
    status: os.stat_result

    @classmethod
    def open(cls, path: Path, opened: ExitStack) -> _File:
        """Open the file at ``path``, to be closed with ``opened``."""
        fd = open_regular(path, os.O_NOFOLLOW)
        opened.callback(os.close, fd)
        status = os.fstat(fd)
        if not status.st_size:
            raise _UnusableError(f"{path}: empty")
        return cls(path, fd, status)

    @property
    def size(self) -> int:
        """How long it was, in bytes."""
        return self.status.st_size

    def head(self) -> bytes:
        """Read what tells what kind of file it is."""
        return os.pread(self.fd, HEAD_SIZE, 0)

    def read(self, start: int, size: int) -> bytes:
        """Read some of it, which may take long.

        :raises ImageError: when there is nothing, or it is not what it was.
        """
        try:
            return self._checked(os.pread(self.fd, size, start))
        except OSError as error:
            raise ImageError(f"{self.path}: {_reason(error)}") from None

    def read_cached(self, start: int, size: int) -> bytes:
        """Read what of it is in memory, which does not take long.

        :return: nothing if that has to be waited for, or cannot be told.
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
        raise ImageError(f"{self.path}: somebody writes to it")

    def is_in_place(self) -> bool:
        """Tell whether it is still what lies at its path."""
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
class _OpenFiles:
    """The open files of an image: whatever becomes of their names, these stay."""

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

        The disk space of a removed file is freed by this, which takes long.
        """
        threads = self._reactor.getThreadPool()
        for file in self._files:
            threads.callInThread(os.close, file.fd)


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a link"
    return error.strerror or str(error)
