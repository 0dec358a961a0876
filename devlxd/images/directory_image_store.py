# -*- test-case-name: tests.images.test_directory_image_store -*-
"""A store of the images in a directory of the host.

`devlxd.images.file_names` describes the layout of the directory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.images.descriptions import (
    Description,
    DescriptionError,
    read_description,
    read_description_file,
)
from devlxd.images.file_names import (
    description_path,
    image_paths,
    parts_of,
    rootfs_path,
)
from devlxd.images.image_files import (
    ImageFile,
    OpenDirectoryImage,
    UnusableError,
    reason_of,
)
from devlxd.interfaces import IDevLXDReactor, IImageStore, ImageError, IOpenImage
from devlxd.limits import CurrentLimits
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Image

#: Errors that are not caused by the file to be opened.
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

#: How often to try to open an image whose files are being replaced.
_MAX_ATTEMPTS = 5


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
        failure.trap(UnusableError)
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
            reason = f"{path}: {reason_of(error)}"
            if error.errno in _OUT_OF_RESOURCES:
                raise ImageError(reason) from None
            raise UnusableError(reason) from None
        return OpenDirectoryImage(image, files, self._reactor)

    def _open_files(self, fingerprint: str, opened: ExitStack) -> Sequence[ImageFile]:
        """Open all files of an image as they were at one point in time.

        :param opened: will close the files.
        """
        for _ in range(_MAX_ATTEMPTS):
            paths = self._paths(fingerprint)
            files = [ImageFile.open(path, opened) for path in paths]
            in_place = all(file.is_in_place() for file in files)
            if in_place and self._paths(fingerprint) == paths:
                return files
            opened.close()
        path = self.directory / fingerprint
        raise UnusableError(f"{path}: replaced again and again while it was opened")

    def _paths(self, fingerprint: str) -> list[Path]:
        """Return the paths of the files of an image.

        :raises UnusableError: if there are none, or too many.
        """
        paths = image_paths(self.directory, fingerprint)
        if len(paths) > 1:
            found = " and ".join(str(path) for path in paths)
            raise UnusableError(f"{found}: more than one file for the image")
        if not paths:
            raise UnusableError(f"{self.directory / fingerprint}: no such file")
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
        raise UnusableError(f"{path}{line}: {error}") from None


def _image(
    fingerprint: str, description: Description, files: Sequence[ImageFile]
) -> Image:
    heads = [file.head() for file in files]
    sizes = [file.size for file in files]
    path = files[0].path
    filename = description.filename or (path.name if path.suffix else "")
    parts = parts_of(fingerprint, heads, sizes, filename)
    modified = max(int(file.status.st_mtime) for file in files)
    return Image(fingerprint, parts, max(modified, 0))
