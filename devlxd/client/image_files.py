# -*- test-case-name: tests.client.test_image_files -*-
"""The files of an image that is being downloaded."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

#: The maximum length of a filename, in bytes: ``NAME_MAX`` of limits.h.
MAX_FILENAME = 255

#: The extension of the root file system of a split image.
ROOTFS = ".rootfs"


class PartialFile:
    """A file that gets its name when it is complete.

    Until then it is a hidden file in the same directory, with the mode of any new file.
    Each method raises `OSError`, with the final name.

    :param path: the final name. A file that has it stays until the new one is complete.
    :param replace: whether such a file is replaced. Otherwise it is an error, also if
        it appears while the new one is written.
    """

    def __init__(self, path: Path, replace: bool = True) -> None:
        self.path = path
        self._replace = replace
        self._at: Path | None = None
        with _about(path):
            _check_free(path, replace)
            partial = path.with_name(f".devlxd-{os.urandom(8).hex()}.part")
            self._file = open(partial, "xb", buffering=0)  # noqa: SIM115 # see discard
        self._at = partial

    def write(self, data: bytes) -> None:
        """Append data."""
        rest = memoryview(data)
        with _about(self.path):
            while rest:
                rest = rest[self._file.write(rest) :]

    def flush(self) -> None:
        """Write the data to the disk. May be called in another thread."""
        # Opened again: a file that is discarded meanwhile is not closed under fsync().
        at = self._at
        with _about(self.path), suppress(FileNotFoundError):
            if at is not None:
                with at.open("rb") as file:
                    os.fsync(file.fileno())

    def place(self) -> None:
        """Give the file its final name."""
        assert self._at is not None
        with _about(self.path):
            self._file.close()
            if self._replace:
                os.replace(self._at, self.path)
            else:
                os.link(self._at, self.path)
                self._at.unlink()
        self._at = self.path

    def remove_replaced(self) -> None:
        """Remove the file that this one replaces, before it does."""
        if self._replace:
            with _about(self.path):
                self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the file, under whichever name. May be called again."""
        with suppress(OSError):
            self._file.close()
        if self._at is not None:
            with suppress(OSError):
                self._at.unlink()
        self._at = None


def place(files: Sequence[PartialFile]) -> None:
    """Give the files of an image their final names: the first one last.

    Without the first, the metadata, there is no image: a reader never takes a new
    root file system for one with the metadata that was there before, nor the metadata
    of a split image for a unified image.
    """
    first, *others = files
    if others:
        first.remove_replaced()
    for file in (*others, first):
        file.place()


def final_path(path: Path, fingerprint: str, name: str, suffix: str = "") -> Path:
    """Return the path of a file of an image.

    :param path: what the caller has given: the path of a file, or of a directory.
    :param name: the name that the server gives the file. It is used in a directory,
        and only if it is a plain one; otherwise it is made from the fingerprint.
    :param suffix: what is added to other names than the server's.
    """
    if not path.is_dir():
        return path.with_name(path.name + suffix)
    return path / (name if _is_plain(name) else fingerprint + suffix)


def _is_plain(name: str) -> bool:
    """Return whether a name of the server's is used for a file.

    It must be printable, not hidden, no path, and not look like an option.
    """
    return (
        name.isprintable()
        and name.strip(" ") == name
        and not name.startswith((".", "-"))
        and 0 < len(name.encode()) <= MAX_FILENAME
        and not {"/", "\\"} & set(name)
    )


def _check_free(path: Path, replace: bool) -> None:
    """Check that a path is free, or may be replaced: not that of ``/dev/null``."""
    if not replace and os.path.lexists(path):
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    if path.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "this is not a regular file")


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Raise an `OSError` with the name of the file that the caller knows."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
