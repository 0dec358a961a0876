# -*- test-case-name: tests.images.test_adding -*-
"""Adding an image to a directory of images, completely or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import yaml

from devlxd.files import open_regular
from devlxd.images.file_names import (
    description_path,
    image_paths,
    is_filename,
    rootfs_path,
)

#: The number of bytes that are copied at a time.
_CHUNK = 1024 * 1024


class AddError(Exception):
    """Raised when an image cannot be added; the text gives the reason."""


def add_image(
    directory: Path, files: Sequence[Path], public: bool, expected: str | None = None
) -> str:
    """Copy an image into a directory of images.

    Guests can download the image as soon as all of it is on the disk. An error
    while files are renamed may leave some without a description, which no guest can
    download.

    :param files: the only file of a unified image, or the two files of a split
        image: metadata, root file system.
    :param public: whether every guest may download the image.
    :param expected: the fingerprint that the image must have; default: any.
    :return: the fingerprint of the image.
    :raises AddError: if the image cannot be added.
    """
    try:
        _check_directory(directory)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=directory) as temporary:
            return _add(directory, Path(temporary), files, public, expected)
    except OSError as error:
        path = error.filename or directory
        raise AddError(f"{path}: {error.strerror or error}") from None


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise AddError(f"{directory}: no such directory")
    # LXD has its images in /var/lib/lxd/images, its database beside them.
    if (directory.resolve().parent / "database").is_dir():
        raise AddError(
            f"{directory}: belongs to an LXD, which removes unknown files from it; "
            "use another directory, or lxc image import"
        )


def _add(
    directory: Path,
    temporary: Path,
    files: Sequence[Path],
    public: bool,
    expected: str | None,
) -> str:
    """Copy the files into a temporary directory, then rename the copies."""
    digest = hashlib.sha256()
    copies = [temporary / str(number) for number in range(len(files))]
    for file, copy in zip(files, copies, strict=True):
        if not _copy(file, copy, digest.update):
            raise AddError(f"{file}: empty file")
    fingerprint = digest.hexdigest()
    if expected is not None and fingerprint != expected:
        raise AddError(f"the fingerprint is {fingerprint}, not {expected}")
    targets = [directory / fingerprint, rootfs_path(directory, fingerprint)]
    del targets[len(files) :]
    _check_existing(directory, fingerprint, targets)
    description = temporary / "description"
    _write_description(description, public, files[0].name if len(files) == 1 else "")
    for copy, target in zip(copies, targets, strict=True):
        copy.rename(target)
    _sync_directory(directory)
    # Guests can download the image once it has a description, so this is last.
    description.rename(description_path(directory, fingerprint))
    _sync_directory(directory)
    return fingerprint


def _check_existing(directory: Path, fingerprint: str, targets: Sequence[Path]) -> None:
    """Make sure that files can be renamed to ``targets``, one after the other.

    There may be files of this image already, of an earlier call or of one that was
    interrupted. If they are not as many as ``targets``, the description is removed,
    so that no guest downloads the image while only some of its files exist.

    :raises AddError: if the image exists, but its data is in other files.
    """
    existing = image_paths(directory, fingerprint)
    rootfs = rootfs_path(directory, fingerprint)
    if os.path.lexists(rootfs):
        existing.append(rootfs)
    for path in existing:
        if path not in targets:
            raise AddError(f"{path}: the image exists, but consists of other files")
    if len(existing) != len(targets):
        description_path(directory, fingerprint).unlink(missing_ok=True)


def _copy(source: Path, target: Path, update_digest: Callable[[bytes], None]) -> int:
    """Copy a file, and wait until the copy is on the disk.

    :param update_digest: called with all data.
    :return: the size of the file, in bytes.
    :raises AddError: if the file changes while it is copied.
    """
    size = 0
    with open(open_regular(source), "rb") as file, target.open("xb") as copy:
        os.fchmod(copy.fileno(), 0o600)
        before = os.fstat(file.fileno())
        while size <= before.st_size and (chunk := file.read(_CHUNK)):
            update_digest(chunk)
            copy.write(chunk)
            size += len(chunk)
        modified = os.fstat(file.fileno()).st_mtime_ns
        if size != before.st_size or modified != before.st_mtime_ns:
            raise AddError(f"{source}: changed while it was copied")
        _sync(copy)
    return size


def _write_description(path: Path, public: bool, filename: str) -> None:
    description: dict[str, object] = {"public": public}
    if is_filename(filename):
        description["filename"] = filename
    text = yaml.safe_dump(description, allow_unicode=True, sort_keys=False)
    with path.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text.encode("utf-8"))
        _sync(file)


def _sync(file: BinaryIO) -> None:
    """Wait until all written data is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    """Wait until the renames in a directory are on the disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
