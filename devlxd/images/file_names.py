# -*- test-case-name: tests.images.test_file_names -*-
"""How an image lies in a directory, and what its files are called.

As LXD lays them out: ``FINGERPRINT`` is the image, and with
``FINGERPRINT.rootfs`` its first half. ``FINGERPRINT.yaml``, which LXD does not
have, says who may have it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import yaml
from attrs import frozen

from devlxd.booleans import is_false, is_true
from devlxd.model import ImagePart

#: How long a description may be, in bytes.
MAX_DESCRIPTION = 64 * 1024

#: How long the name of a file may be, in characters.
MAX_FILENAME = 255

#: How much of a file tells what kind of file it is, in bytes.
HEAD_SIZE = 262

#: What a file of each kind is called, where its magic is and what that is:
#: those that LXD knows (its ``shared/archive.go``).
_KINDS = (
    (".tar.gz", 0, b"\x1f\x8b"),
    (".tar.bz2", 0, b"BZh"),
    (".tar.xz", 0, b"\xfd7zXZ"),
    (".tar.lzma", 0, b"\x5d\x00\x00"),
    (".tar.zst", 0, b"\x28\xb5\x2f\xfd"),
    (".tar", 257, b"ustar"),
    (".squashfs", 0, b"hsqs"),
    (".qcow2", 0, b"QFI\xfb"),
)

#: What a file may be called besides its fingerprint. Not anything: checksums,
#: signatures and half a copy are called after it, too.
EXTENSIONS = (
    "",
    *(extension for extension, _, _ in _KINDS),
    *(".tgz", ".tbz2", ".txz", ".img", ".raw", ".iso"),
)

_DISK = ".qcow2"


class DescriptionError(Exception):
    """A description that says nothing clear.

    :ivar line: in which line, from 1; ``None`` for all of it.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


@frozen
class Description:
    """What ``FINGERPRINT.yaml`` says.

    :ivar public: whether every guest may have the image.
    :ivar cached: whether it is a copy of one that everybody may have.
    :ivar filename: what guests may call it; empty for its fingerprint.
    """

    public: bool = False
    cached: bool = False
    filename: str = ""


def is_filename(text: str) -> bool:
    """Tell whether guests may call a file ``text``: in one line, and no path."""
    is_path = "/" in text or text in ("", ".", "..")
    return text.isprintable() and not is_path and len(text) <= MAX_FILENAME


def description_path(directory: Path, fingerprint: str) -> Path:
    """Return where the description of an image lies."""
    return directory / f"{fingerprint}.yaml"


def rootfs_path(directory: Path, fingerprint: str) -> Path:
    """Return where the second half of a split image lies."""
    return directory / f"{fingerprint}.rootfs"


def image_paths(directory: Path, fingerprint: str) -> list[Path]:
    """Find what lies there as an image, or as its first half."""
    paths = [directory / f"{fingerprint}{extension}" for extension in EXTENSIONS]
    return list(filter(os.path.lexists, paths))


def extension_of(head: bytes) -> str:
    """Return what a file is called that begins with ``head``; often ``""``."""
    for extension, offset, magic in _KINDS:
        if head.startswith(magic, offset):
            return extension
    return ""


def parts_of(
    fingerprint: str, heads: Sequence[bytes], sizes: Sequence[int], filename: str = ""
) -> tuple[ImagePart, ...]:
    """Return the parts of an image, named as LXD names them (protocol.md 4).

    :param heads: how its one file begins, or how its two do.
    :param sizes: how long they are, in bytes.
    :param filename: what guests may call it, if it is one file; by default
        that follows from its fingerprint.
    """
    extensions = [extension_of(head) for head in heads]
    if len(extensions) == 1:
        return (ImagePart("", filename or fingerprint + extensions[0], sizes[0]),)
    meta, root = extensions
    rootfs = "rootfs.img" if root == _DISK else "rootfs"
    return (
        ImagePart("metadata", f"meta-{fingerprint}{meta}", sizes[0]),
        ImagePart(rootfs, f"{fingerprint}{root}", sizes[1]),
    )


def read_description(content: bytes) -> Description:
    """Read a description.

    :raises DescriptionError: when it is none.
    """
    if len(content) > MAX_DESCRIPTION:
        raise DescriptionError(f"more than {MAX_DESCRIPTION} bytes")
    try:
        # All of it as text: a filename may look like a number or a date.
        said = yaml.load(content, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise DescriptionError(error.problem or "not YAML", line) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise DescriptionError("not YAML") from None
    if not isinstance(said, dict):
        raise DescriptionError("not a mapping")
    return Description(
        public=_truth(said, "public"),
        cached=_truth(said, "cached"),
        filename=_filename(said),
    )


def _truth(said: dict[object, object], key: str) -> bool:
    value = said.get(key, "false")
    if isinstance(value, str) and (is_true(value) or is_false(value)):
        return is_true(value)
    raise DescriptionError(f"{key}: neither true nor false")


def _filename(said: dict[object, object]) -> str:
    filename = said.get("filename", "")
    if filename == "" or (isinstance(filename, str) and is_filename(filename)):
        return filename
    raise DescriptionError("filename: not the name of a file")
