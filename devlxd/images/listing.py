# -*- test-case-name: tests.images.test_listing -*-
"""What is in a directory of images, for the operator: also what is not served."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from attrs import field, frozen

from devlxd.files import open_regular
from devlxd.images.descriptions import (
    Description,
    DescriptionError,
    read_description,
    read_description_file,
)
from devlxd.images.file_names import (
    EXTENSIONS,
    description_path,
    image_paths,
    rootfs_path,
)
from devlxd.images.image_directory import (
    ImageDirectoryError,
    NoSuchImageError,
    check_exists,
    naming_errors,
)

#: The number of bytes that are read at a time.
_CHUNK = 1024 * 1024

#: The name of a file of an image, or of its description.
_NAME = re.compile(
    "([0-9a-f]{64})(?:"
    + "|".join(map(re.escape, (*EXTENSIONS, ".rootfs", ".yaml")))
    + ")"
)


@frozen
class ListedFile:
    """One file of an image.

    :ivar size: in bytes.
    """

    name: str
    size: int


@frozen
class ListedImage:
    """An image in a directory.

    :ivar files: the only file of a unified image, or the metadata and the root file
        system of a split image; those that exist of a damaged one.
    :ivar description: what its description says; if that is malformed, what an empty
        one would.
    :ivar damage: why guests cannot download it although it may be public, beginning
        with the path of a file; ``None`` if nothing is wrong.
    :ivar damaged: the name of that file.
    """

    fingerprint: str
    files: Sequence[ListedFile]
    description: Description = field(factory=Description)
    damage: str | None = None
    damaged: str | None = None

    @property
    def is_split(self) -> bool:
        """Whether the image consists of two files."""
        return len(self.files) > 1

    @property
    def size(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.size for file in self.files)


class _DamageError(Exception):
    def __init__(self, path: Path, reason: str, line: int | None = None) -> None:
        place = path if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {reason}")
        self.path = path


def list_images(directory: Path) -> list[ListedImage]:
    """Return all images in a directory, by fingerprint.

    :raises ImageDirectoryError: if the directory cannot be read.
    """
    with naming_errors(directory):
        found = _fingerprints(directory)
        return [inspect(directory, fingerprint) for fingerprint in found]


def find_image(directory: Path, prefix: str) -> ListedImage:
    """Return the only image whose fingerprint begins with ``prefix``.

    :param prefix: lower-case hex digits.
    :raises NoSuchImageError: if there is none.
    :raises ImageDirectoryError: if there are several, or the directory cannot be
        read.
    """
    with naming_errors(directory):
        found = [f for f in _fingerprints(directory) if f.startswith(prefix)]
        if not found:
            raise NoSuchImageError(f"{prefix}: no such image in {directory}")
        if len(found) > 1:
            text = f"{prefix}: ambiguous, {len(found)} images begin with it"
            raise ImageDirectoryError(text)
        return inspect(directory, found[0])


def _fingerprints(directory: Path) -> list[str]:
    check_exists(directory)
    matches = map(_NAME.fullmatch, os.listdir(directory))
    return sorted({match[1] for match in matches if match})


def inspect(directory: Path, fingerprint: str) -> ListedImage:
    """Return an image, whatever there is of it.

    :raises OSError: if the directory cannot be read.
    """
    paths = _paths(directory, fingerprint)
    damages: list[_DamageError] = []
    description = Description()
    try:
        description = _description(description_path(directory, fingerprint))
        _check_layout(directory / fingerprint, paths)
    except _DamageError as error:
        damages.append(error)
    files = []
    for path in paths:
        try:
            files.append(ListedFile(path.name, _size(path)))
        except _DamageError as error:
            damages.append(error)
    if not damages:
        return ListedImage(fingerprint, files, description)
    first = damages[0]
    return ListedImage(fingerprint, files, description, str(first), first.path.name)


def _description(path: Path) -> Description:
    try:
        content = read_description_file(path)
    except OSError as error:
        raise _DamageError(path, _reason(error)) from None
    try:
        return Description() if content is None else read_description(content)
    except DescriptionError as error:
        raise _DamageError(path, str(error), error.line) from None


def _paths(directory: Path, fingerprint: str) -> list[Path]:
    """Return the paths of all files of an image: there may be too many."""
    rootfs = rootfs_path(directory, fingerprint)
    paths = image_paths(directory, fingerprint)
    return [*paths, rootfs] if os.path.lexists(rootfs) else paths


def _check_layout(path: Path, paths: Sequence[Path]) -> None:
    """Check that an image has one unified file, or the two of a split image.

    :param path: the usual path of the first file.
    :param paths: the paths of all files.
    """
    first = [path for path in paths if path.suffix != ".rootfs"]
    if not first:
        raise _DamageError(path, "file missing")
    if len(first) > 1:
        raise _DamageError(first[1], f"{first[0].name} is the same image")


def _size(path: Path) -> int:
    """Return the size of a file that can be served, in bytes."""
    try:
        status = path.lstat()
    except OSError as error:
        raise _DamageError(path, _reason(error)) from None
    if not stat.S_ISREG(status.st_mode):
        raise _DamageError(path, "not a regular file")
    if not status.st_size:
        raise _DamageError(path, "empty file")
    return status.st_size


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "file missing"
    # With O_NOFOLLOW, open(2) fails with ELOOP on a symbolic link.
    if error.errno == errno.ELOOP:
        return "not a regular file"
    return error.strerror or str(error)


def verify_image(directory: Path, image: ListedImage) -> str | None:
    """Compare the SHA-256 of the data of an image with its fingerprint.

    All data is read. While it is, other processes may change the directory.

    :return: what is wrong; ``None`` if nothing is.
    """
    if image.damage is not None:
        return image.damage
    digest = hashlib.sha256()
    for file in image.files:
        path = directory / file.name
        try:
            with open(open_regular(path, os.O_NOFOLLOW), "rb") as opened:
                while chunk := opened.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            return f"{path}: {_reason(error)}"
    if digest.hexdigest() != image.fingerprint:
        return "does not match"
    return None
