# -*- test-case-name: tests.images.test_image_directory -*-
"""Changes to a directory of images: one writer at a time, and onto the disk.

`devlxd.images.file_names` describes the layout of the directory.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ImageDirectoryError(Exception):
    """A directory of images cannot be read or changed; the text gives the reason."""


class NoSuchImageError(ImageDirectoryError):
    """There is no such image in the directory."""


@contextmanager
def naming_errors(directory: Path) -> Iterator[None]:
    """Turn each `OSError` into an `ImageDirectoryError` that names the file."""
    try:
        yield
    except OSError as error:
        path = error.filename or directory
        raise ImageDirectoryError(f"{path}: {error.strerror or error}") from None


def check_exists(directory: Path) -> None:
    """Check that a directory exists.

    :raises ImageDirectoryError: if it does not.
    """
    if not directory.is_dir():
        raise ImageDirectoryError(f"{directory}: no such directory")


def check_changeable(directory: Path) -> None:
    """Check that a directory exists, and is not that of an LXD.

    :raises ImageDirectoryError: if it may not be changed.
    """
    check_exists(directory)
    # LXD has its images in /var/lib/lxd/images, its database beside them.
    if (directory.resolve().parent / "database").is_dir():
        raise ImageDirectoryError(
            f"{directory}: belongs to an LXD, which removes unknown files from it; "
            "use another directory, or lxc image"
        )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other writers out of a directory, and wait for one that is in it.

    The lock is on the directory itself (``flock(2)``): there is no file to be left
    behind, or to be owned by another user. The kernel releases it when the process
    ends.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def write_file(path: Path, content: bytes, like: os.stat_result | None = None) -> None:
    """Create a file, and wait until it is on the disk.

    :param like: the status of a file with the owner and the mode of the new file;
        default: this process's, and readable by its user only.
    """
    with path.open("xb") as file:
        if like is not None and (like.st_uid, like.st_gid) != (
            os.geteuid(),
            os.getegid(),
        ):
            os.fchown(file.fileno(), like.st_uid, like.st_gid)
        os.fchmod(file.fileno(), 0o600 if like is None else like.st_mode & 0o777)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Wait until the renames in a directory are on the disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
