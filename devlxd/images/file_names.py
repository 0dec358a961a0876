# -*- test-case-name: tests.images.test_file_names -*-
"""The names of the files of an image, in a directory and in a download.

A directory of images has the layout of LXD's:

* ``FINGERPRINT``, which may have an extension, is a unified image (one file)
  or the metadata of a split image (two files);
* ``FINGERPRINT.rootfs`` is the root file system of a split image;
* ``FINGERPRINT.yaml``, which LXD does not have, is its description, see
  `devlxd.images.descriptions`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from devlxd.model import ImagePart

#: The maximum length of a filename, in characters.
MAX_FILENAME = 255

#: The number of bytes at the beginning of a file that determine its format.
HEAD_SIZE = 262

#: Formats of files: extension, offset of the magic number, magic number. These
#: are the formats that LXD knows, and the extensions that it gives them:
#: ``DetectCompressionFile`` in ``shared/archive.go``,
#: https://github.com/canonical/lxd.
_FORMATS = (
    (".tar.gz", 0, b"\x1f\x8b"),
    (".tar.bz2", 0, b"BZh"),
    (".tar.xz", 0, b"\xfd7zXZ"),
    (".tar.lzma", 0, b"\x5d\x00\x00"),
    (".tar.zst", 0, b"\x28\xb5\x2f\xfd"),
    (".tar", 257, b"ustar"),
    (".squashfs", 0, b"hsqs"),
    (".qcow2", 0, b"QFI\xfb"),
)

#: The extensions that the file of an image may have in the directory. Others
#: are not allowed, because checksums, signatures and partial copies are named
#: ``FINGERPRINT.EXTENSION`` as well.
EXTENSIONS = (
    "",
    *(extension for extension, _, _ in _FORMATS),
    *(".tgz", ".tbz2", ".txz", ".img", ".raw", ".iso"),
)

_DISK = ".qcow2"


def is_filename(text: str) -> bool:
    """Return whether ``text`` may be a filename: printable, and without ``/``."""
    is_path = "/" in text or text in ("", ".", "..")
    return text.isprintable() and not is_path and len(text) <= MAX_FILENAME


def description_path(directory: Path, fingerprint: str) -> Path:
    """Return the path of the description of an image."""
    return directory / f"{fingerprint}.yaml"


def rootfs_path(directory: Path, fingerprint: str) -> Path:
    """Return the path of the root file system of a split image."""
    return directory / f"{fingerprint}.rootfs"


def image_paths(directory: Path, fingerprint: str) -> list[Path]:
    """Return the existing paths of the unified image, or of the metadata.

    There should be at most one. Dangling symbolic links are included.
    """
    paths = [directory / f"{fingerprint}{extension}" for extension in EXTENSIONS]
    return list(filter(os.path.lexists, paths))


def extension_of(head: bytes) -> str:
    """Return the extension for a file, from its format.

    :param head: the first `HEAD_SIZE` bytes of the file.
    :return: for example ``.tar.gz``; ``""`` if the format is unknown.
    """
    for extension, offset, magic in _FORMATS:
        if head.startswith(magic, offset):
            return extension
    return ""


def parts_of(
    fingerprint: str, heads: Sequence[bytes], sizes: Sequence[int], filename: str = ""
) -> tuple[ImagePart, ...]:
    """Return the parts of an image, with the names that LXD gives to them.

    LXD names them in ``imageExport`` of ``lxd/images.go``,
    https://github.com/canonical/lxd.

    :param heads: the first `HEAD_SIZE` bytes of the only file of a unified
        image, or of the two files of a split image.
    :param sizes: the sizes of these files, in bytes.
    :param filename: the filename of a unified image; default: made from the
        fingerprint. The filenames of a split image are always made from it.
    """
    extensions = [extension_of(head) for head in heads]
    if len(extensions) == 1:
        return (ImagePart("", filename or fingerprint + extensions[0], sizes[0]),)
    metadata, root = extensions
    rootfs = "rootfs.img" if root == _DISK else "rootfs"
    return (
        ImagePart("metadata", f"meta-{fingerprint}{metadata}", sizes[0]),
        ImagePart(rootfs, f"{fingerprint}{root}", sizes[1]),
    )
