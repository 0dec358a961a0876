# -*- test-case-name: tests.images.test_changing -*-
"""Changing which images of a directory guests may download."""

from __future__ import annotations

import tempfile
from pathlib import Path

from devlxd.images.descriptions import (
    DescriptionError,
    read_description_file,
    with_public,
)
from devlxd.images.file_names import description_path, image_paths, rootfs_path
from devlxd.images.image_directory import (
    ImageDirectoryError,
    check_changeable,
    locked,
    naming_errors,
    sync_directory,
    write_file,
)
from devlxd.images.listing import ListedImage, find_image


def remove_image(directory: Path, prefix: str) -> ListedImage:
    """Remove an image, or what there is of it.

    Guests that are downloading it receive all of it.

    :param prefix: see `find_image`.
    :return: the image, as it was.
    :raises ImageDirectoryError: if it cannot be removed; `NoSuchImageError` if there
        is none.
    """
    with naming_errors(directory):
        check_changeable(directory)
        with locked(directory):
            image = find_image(directory, prefix)
            # Without a description no guest can download what is left if this is
            # interrupted.
            description_path(directory, image.fingerprint).unlink(missing_ok=True)
            sync_directory(directory)
            paths = image_paths(directory, image.fingerprint)
            for path in (*paths, rootfs_path(directory, image.fingerprint)):
                path.unlink(missing_ok=True)
            sync_directory(directory)
    return image


def set_public(directory: Path, prefix: str, public: bool) -> ListedImage:
    """Set whether every guest may download an image.

    Nothing else in its description changes. Guests that are downloading it receive
    all of it.

    :param prefix: see `find_image`.
    :return: the image, as it is now.
    :raises ImageDirectoryError: if this cannot be set; `NoSuchImageError` if there is
        no such image.
    """
    with naming_errors(directory):
        check_changeable(directory)
        with locked(directory):
            image = find_image(directory, prefix)
            description = description_path(directory, image.fingerprint)
            if image.damage is not None and (
                public or image.damaged == description.name
            ):
                raise ImageDirectoryError(image.damage)
            if image.description.public != public:
                _write_public(directory, image, public)
            return find_image(directory, image.fingerprint)


def _write_public(directory: Path, image: ListedImage, public: bool) -> None:
    """Replace the description of an image."""
    path = description_path(directory, image.fingerprint)
    content = read_description_file(path)
    try:
        changed = b"public: true\n" if content is None else with_public(content, public)
    except DescriptionError as error:
        raise ImageDirectoryError(f"{path}: {error}") from None
    # Whoever can read the image has to be able to read its description, too.
    like = (directory / image.files[0].name if content is None else path).stat()
    with tempfile.TemporaryDirectory(prefix=".changing-", dir=directory) as temporary:
        new = Path(temporary) / "description"
        write_file(new, changed, like)
        new.rename(path)
        sync_directory(directory)
