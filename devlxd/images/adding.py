# -*- test-case-name: tests.images.test_adding -*-
"""Putting an image into a directory: all of it, or nothing."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
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

#: How much is copied at a time, in bytes.
_PIECE = 1024 * 1024


class AddError(Exception):
    """An image that cannot be put in; the text says why."""


def add_image(
    directory: Path, files: Sequence[Path], public: bool, expected: str | None = None
) -> str:
    """Put an image into a directory.

    It is copied and can be downloaded when all of it is on the disk. Whatever
    goes wrong before leaves the directory as it was.

    :param files: its one file, or the two halves of a split image.
    :param public: whether every guest may have it.
    :param expected: the fingerprint that it should have, if that is known.
    :return: its fingerprint.
    :raises AddError: when it cannot be put in.
    """
    try:
        _check_directory(directory)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=directory) as aside:
            return _add(directory, Path(aside), files, public, expected)
    except OSError as error:
        where = error.filename or directory
        raise AddError(f"{where}: {error.strerror or error}") from None


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise AddError(f"{directory}: no such directory")
    if (directory.resolve().parent / "database").is_dir():
        raise AddError(
            f"{directory}: belongs to an LXD, which removes from it what it does not "
            "know; take another directory, or lxc image import"
        )


def _add(
    directory: Path,
    aside: Path,
    files: Sequence[Path],
    public: bool,
    expected: str | None,
) -> str:
    digest = hashlib.sha256()
    copies = [aside / str(number) for number in range(len(files))]
    for file, copy in zip(files, copies, strict=True):
        if not _copy(file, copy, digest):
            raise AddError(f"{file}: empty")
    fingerprint = digest.hexdigest()
    if expected is not None and fingerprint != expected:
        raise AddError(f"the fingerprint is {fingerprint}, not {expected}")
    places = [directory / fingerprint, rootfs_path(directory, fingerprint)]
    del places[len(files) :]
    _clear(directory, fingerprint, places)
    description = aside / "description"
    _describe(description, public, files[0].name if len(files) == 1 else "")
    for copy, place in zip(copies, places, strict=True):
        copy.rename(place)
    _sync_directory(directory)
    # Without this one nobody may have it, so it is the last.
    description.rename(description_path(directory, fingerprint))
    _sync_directory(directory)
    return fingerprint


def _clear(directory: Path, fingerprint: str, places: Sequence[Path]) -> None:
    """See to it that files can be moved to ``places``, one after the other.

    The same data may be there already, whole or in halves, and so may the rest
    of an addition that was interrupted.
    """
    found = image_paths(directory, fingerprint)
    rootfs = rootfs_path(directory, fingerprint)
    if os.path.lexists(rootfs):
        found.append(rootfs)
    for path in found:
        if path not in places:
            raise AddError(f"{path}: the image is there already, in other pieces")
    if len(found) != len(places):
        description_path(directory, fingerprint).unlink(missing_ok=True)


def _copy(source: Path, copy: Path, digest: hashlib._Hash) -> int:
    """Copy a file to the disk, and count it into ``digest``.

    :return: how long it is, in bytes.
    :raises AddError: when somebody writes to it.
    """
    size = 0
    with open(open_regular(source), "rb") as file, copy.open("xb") as target:
        os.fchmod(target.fileno(), 0o600)
        before = os.fstat(file.fileno())
        while size <= before.st_size and (piece := file.read(_PIECE)):
            digest.update(piece)
            target.write(piece)
            size += len(piece)
        if size != before.st_size or os.fstat(file.fileno()).st_mtime_ns != (
            before.st_mtime_ns
        ):
            raise AddError(f"{source}: somebody writes to it")
        _sync(target)
    return size


def _describe(path: Path, public: bool, filename: str) -> None:
    said: dict[str, object] = {"public": public}
    if is_filename(filename):
        said["filename"] = filename
    with path.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(
            yaml.safe_dump(said, allow_unicode=True, sort_keys=False).encode("utf-8")
        )
        _sync(file)


def _sync(file: BinaryIO) -> None:
    """Wait until all that was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
