# -*- test-case-name: tests.containers.test_document_files -*-
"""Finding documents: which entries of the directory belong to which container."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from attrs import frozen

from devlxd.containers.document_parser import Format
from devlxd.containers.document_trees import printable

#: The formats of the documents ``NAME.yaml``, by suffix.
_SUFFIXES = {".yaml": Format.YAML, ".yml": Format.YAML, ".json": Format.JSON}

#: The formats of the documents in a container's own directory, by file name.
_FILES_IN_DIRECTORY = {"config.yaml": Format.YAML, "backup.yaml": Format.BACKUP}


class UnreadableError(Exception):
    """The document of a container cannot be read.

    The message names the file, the line if there is one, and the reason.

    :ivar reason: the reason alone.
    :ivar is_transient: whether a retry may succeed with an unchanged file.
    """

    def __init__(self, where: str, reason: str, is_transient: bool = False) -> None:
        super().__init__(f"{where}: {reason}")
        self.reason = reason
        self.is_transient = is_transient

    @classmethod
    def from_os_error(cls, error: OSError, path: Path | str) -> UnreadableError:
        """Convert the error of a system call that was given ``path``."""
        if error.errno == errno.ENOENT:
            reason = "a dangling symbolic link"
        else:
            reason = error.strerror or str(error)
        return cls(printable(str(path)), reason, is_transient=True)


@frozen
class DocumentPath:
    """The path of a document, and its format."""

    path: Path
    format: Format

    @property
    def is_in_own_directory(self) -> bool:
        """Whether it is in the container's own directory: ``NAME/config.yaml``."""
        return self.path.name in _FILES_IN_DIRECTORY

    def printable(self, line: int | None = None) -> str:
        """Return the path for a log line, with a line number if one is given."""
        path = printable(str(self.path))
        return path if line is None else f"{path}:{line}"


def container_name(entry: str) -> str:
    """Return the name of the container that an entry of the directory belongs to.

    :param entry: a file or a directory: ``NAME.yaml`` or ``NAME``.
    """
    stem, suffix = os.path.splitext(entry)
    return stem if suffix in _SUFFIXES else entry


def is_hidden(entry: str) -> bool:
    """Return whether an entry is hidden, such as the temporary files of editors."""
    return entry.startswith(".")


def list_containers(directory: Path) -> set[str]:
    """Return the names of the containers that entries of the directory belong to.

    :return: empty if the directory does not exist.
    :raises OSError: when it cannot be listed.
    """
    try:
        entries = os.listdir(directory)
    except FileNotFoundError:
        return set()
    return {container_name(entry) for entry in entries if not is_hidden(entry)}


def find_documents(directory: Path, name: str) -> list[DocumentPath]:
    """Find the documents of the container ``name``. It should have exactly one.

    :raises UnreadableError: when the file system reports an error.
    """
    paths = [
        DocumentPath(directory / f"{name}{suffix}", format)
        for suffix, format in _SUFFIXES.items()
    ]
    own = directory / name
    try:
        if _is_directory(own):
            paths += [
                DocumentPath(own / entry, format)
                for entry, format in _FILES_IN_DIRECTORY.items()
            ]
        return [path for path in paths if _exists(path.path)]
    except OSError as error:
        raise UnreadableError.from_os_error(error, error.filename or own) from None


def _is_directory(path: Path) -> bool:
    """Return whether ``path`` is a directory, or a link to one.

    :raises OSError: when that is unknown, or ``path`` is a dangling link.
    """
    return _exists(path) and stat.S_ISDIR(os.stat(path).st_mode)


def _exists(path: Path) -> bool:
    """Return whether there is anything at ``path``, even a dangling link.

    :raises OSError: when that is unknown.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def entries_elsewhere(directory: Path, name: str) -> set[tuple[str, str]]:
    """Return the entries of other directories that the container depends on.

    :return: pairs of a directory and the name of an entry in it. The entries are
        the documents in the container's own directory, and the targets of links.
    """
    own = directory / name
    inside: list[Path] = []
    if os.path.isdir(own):
        inside = [own / entry for entry in _FILES_IN_DIRECTORY]
    entries = {os.path.split(path) for path in inside}
    for path in (*(directory / f"{name}{suffix}" for suffix in _SUFFIXES), *inside):
        if os.path.islink(path):
            entries.add(os.path.split(os.path.realpath(path)))
    return entries


def ignored_file(directory: Path, name: str) -> str:
    """Return the path of an ignored file that was probably meant as a document.

    :param name: the name of the file: ``c1.YAML`` or ``c1.conf``, for example.
    :return: the path for a log line; empty if there is no such file.
    """
    _stem, suffix = os.path.splitext(name)
    if suffix.lower() not in (*_SUFFIXES, ".conf"):
        return ""
    path = directory / name
    return printable(str(path)) if os.path.isfile(path) else ""
