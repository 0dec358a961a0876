# -*- test-case-name: tests.images.test_adding -*-
"""Adding an image to a directory of images, completely or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from devlxd.files import open_regular
from devlxd.images.file_names import (
    description_path,
    image_paths,
    is_filename,
    rootfs_path,
)
from devlxd.images.image_directory import (
    ImageDirectoryError,
    check_changeable,
    locked,
    naming_errors,
    sync_directory,
    write_file,
)

#: The number of bytes that are copied at a time.
_CHUNK = 1024 * 1024


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
    :raises ImageDirectoryError: if the image cannot be added.
    """
    with naming_errors(directory):
        check_changeable(directory)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=directory) as temporary:
            return _add(directory, Path(temporary), files, public, expected)


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
            raise ImageDirectoryError(f"{file}: empty file")
    fingerprint = digest.hexdigest()
    if expected is not None and fingerprint != expected:
        raise ImageDirectoryError(f"the fingerprint is {fingerprint}, not {expected}")
    targets = [directory / fingerprint, rootfs_path(directory, fingerprint)]
    del targets[len(files) :]
    description = temporary / "description"
    write_file(description, _description(public, files[0] if len(files) == 1 else None))
    with locked(directory):
        _check_existing(directory, fingerprint, targets)
        for copy, target in zip(copies, targets, strict=True):
            copy.rename(target)
        sync_directory(directory)
        # Guests can download the image once it has a description, so this is last.
        description.rename(description_path(directory, fingerprint))
        sync_directory(directory)
    return fingerprint


def _check_existing(directory: Path, fingerprint: str, targets: Sequence[Path]) -> None:
    """Make sure that files can be renamed to ``targets``, one after the other.

    There may be files of this image already, of an earlier call or of one that was
    interrupted. If they are not as many as ``targets``, the description is removed,
    so that no guest downloads the image while only some of its files exist.

    :raises ImageDirectoryError: if the image exists, but its data is in other files.
    """
    existing = image_paths(directory, fingerprint)
    rootfs = rootfs_path(directory, fingerprint)
    if os.path.lexists(rootfs):
        existing.append(rootfs)
    for path in existing:
        if path not in targets:
            text = f"{path}: the image exists, but consists of other files"
            raise ImageDirectoryError(text)
    if len(existing) != len(targets):
        description_path(directory, fingerprint).unlink(missing_ok=True)


def _copy(source: Path, target: Path, update_digest: Callable[[bytes], None]) -> int:
    """Copy a file, and wait until the copy is on the disk.

    :param update_digest: called with all data.
    :return: the size of the file, in bytes.
    :raises ImageDirectoryError: if the file changes while it is copied.
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
            raise ImageDirectoryError(f"{source}: changed while it was copied")
        copy.flush()
        os.fsync(copy.fileno())
    return size


def _description(public: bool, only_file: Path | None) -> bytes:
    """Return a new description.

    :param only_file: the file of a unified image, whose name the image keeps.
    """
    description: dict[str, object] = {"public": public}
    if only_file is not None and is_filename(only_file.name):
        description["filename"] = only_file.name
    text = yaml.safe_dump(description, allow_unicode=True, sort_keys=False)
    return text.encode("utf-8")
