# -*- test-case-name: tests.documents.test_replacing -*-
"""Replacing and creating files atomically: a reader sees the old or the new content.

A new file is written beside the old one under a hidden name, which the directory
store ignores. If its writer is killed, the next writer of that file removes it; that
is safe under the lock of the directory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: The mode of a new document, whose values may be secret.
MODE = 0o600

#: The mode in a directory whose group is that of the files in it.
GROUP_MODE = 0o640

#: What follows the name of a document in the hidden name of a new file for it.
INFIX = ".devlxd-"

#: What a file system answers that has no such attributes, or a user who may not set
#: them.
_NO_ATTRIBUTES = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL)

#: The extended attributes that decide who may read a file.
_ACCESS = "system.posix_acl_access"


class CannotKeepError(Exception):
    """A file cannot be replaced by one with the same attributes.

    The message says which.
    """


def replace(path: Path, content: bytes) -> None:
    """Replace the content of a file.

    Its mode, its owner, its group and its extended attributes stay. If ``path`` is a
    symbolic link, its target is replaced, and the link stays.

    :raises CannotKeepError: if something does not stay.
    :raises OSError: if the file cannot be replaced. It is unchanged.
    """
    target = Path(os.path.realpath(path))
    # One that `create` has left is a hard link to the file.
    _remove_stale(target)
    old = os.stat(target)
    if old.st_nlink > 1:
        raise CannotKeepError(
            f"has {old.st_nlink} hard links, and only this one would be replaced; "
            "make the others symbolic links"
        )
    with _new_file(target, content) as (new, descriptor):
        _copy_attributes(target, old, descriptor)
        os.fsync(descriptor)
        os.rename(new, target)
    _sync_directory(target.parent)


def create(path: Path, content: bytes) -> None:
    """Create a file that only its owner may read, and its group where that is usual.

    :raises FileExistsError: if there is such a file.
    :raises OSError: if it cannot be created.
    """
    _remove_stale(path)
    has_group = os.stat(path.parent).st_mode & stat.S_ISGID
    with _new_file(path, content) as (new, descriptor):
        os.fchmod(descriptor, GROUP_MODE if has_group else MODE)
        os.fsync(descriptor)
        os.link(new, path)
    _sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file, or a symbolic link.

    :raises OSError: if it cannot be removed.
    """
    os.unlink(path)
    _sync_directory(path.parent)


def _prefix(path: Path) -> str:
    """Return how the names of new files for ``path`` begin."""
    return f".{path.name[:128]}{INFIX}"


def _remove_stale(path: Path) -> None:
    """Remove the new files of writers that were killed."""
    prefix = _prefix(path)
    for entry in os.listdir(path.parent):
        if entry.startswith(prefix):
            with contextlib.suppress(OSError):
                os.unlink(path.parent / entry)


@contextlib.contextmanager
def _new_file(path: Path, content: bytes) -> Iterator[tuple[str, int]]:
    """Write a hidden file beside ``path``.

    :return: its path and its descriptor. Unless it has been renamed, it is removed.
    """
    descriptor, new = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield new, descriptor
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)


def _copy_attributes(target: Path, old: os.stat_result, descriptor: int) -> None:
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError:
            reason = "its owner or group would change; try as root"
            raise CannotKeepError(reason) from None
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    for name in _attributes(target):
        try:
            os.setxattr(descriptor, name, os.getxattr(target, name))
        except OSError as error:
            if name == _ACCESS or error.errno not in _NO_ATTRIBUTES:
                raise CannotKeepError(
                    f"its attribute {name} would be lost: {error.strerror}"
                ) from None


def _attributes(path: Path) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError:
        return []


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
