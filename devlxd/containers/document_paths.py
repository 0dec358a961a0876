# -*- test-case-name: tests.containers.test_document_files -*-
"""Finding documents: which entries of the directory belong to which container."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from attrs import frozen

from devlxd.containers.document_parser import Format
from devlxd.model import Fault, is_container_name
from devlxd.printable_text import printable, printable_path

#: The formats of the documents ``NAME.yaml``, by suffix.
_SUFFIXES = {".yaml": Format.YAML, ".yml": Format.YAML, ".json": Format.JSON}

#: The formats of the documents in a container's own directory, by file name.
_FILES_IN_DIRECTORY = {"config.yaml": Format.YAML, "backup.yaml": Format.BACKUP}

#: What to do about the errors of system calls that an operator can cause.
_REMEDIES = {
    errno.EACCES: "; allow the user that runs devlxd to read it",
    errno.EISDIR: "; replace it by a file",
    errno.ELOOP: "; let the link refer to a file",
    errno.ENOENT: "; create its target, or remove the link",
}


class UnreadableError(Exception):
    """The document of a container cannot be read.

    The message names the file, the line if there is one, and the reason.

    :ivar file: the path of the document, printable.
    :ivar reason: the reason alone, and what to write or do instead.
    :ivar line: the line of the problem, counted from 1; 0 if there is none.
    :ivar is_transient: whether a retry may succeed with an unchanged file.
    """

    def __init__(
        self, file: str, reason: str, line: int = 0, is_transient: bool = False
    ) -> None:
        super().__init__(file, reason, line)
        self.file = file
        self.reason = reason
        self.line = line
        self.is_transient = is_transient

    def __str__(self) -> str:
        """Return ``FILE:LINE: reason``."""
        return str(self.fault_of(None))

    def fault_of(self, name: str | None) -> Fault:
        """Return the fault in the document of the container ``name``."""
        return Fault(self.file, self.line, self.reason, name)

    @classmethod
    def from_os_error(cls, error: OSError, path: Path | str) -> UnreadableError:
        """Convert the error of a system call that was given ``path``."""
        reason = error.strerror or str(error)
        if error.errno == errno.ENOENT:
            reason = "a dangling symbolic link"
        reason += _REMEDIES.get(error.errno or 0, "")
        return cls(printable_path(path), reason, is_transient=True)


@frozen
class DocumentPath:
    """The path of a document.

    :ivar path: the path.
    :ivar format: the format of the document.
    :ivar is_in_own_directory: whether it is in the container's own directory:
        ``NAME/config.yaml``.
    """

    path: Path
    format: Format
    is_in_own_directory: bool

    @property
    def end(self) -> str:
        """What follows the container's name: ``.yaml``, ``/config.yaml``."""
        name = self.path.name
        return f"/{name}" if self.is_in_own_directory else self.path.suffix

    def printable(self) -> str:
        """Return the path for a log line."""
        return printable_path(self.path)


def container_name(entry: str) -> str:
    """Return the name of the container that an entry of the directory belongs to.

    :param entry: a file or a directory: ``NAME.yaml`` or ``NAME``.
    """
    stem, suffix = os.path.splitext(entry)
    return stem if suffix in _SUFFIXES else entry


def is_hidden(entry: str) -> bool:
    """Return whether an entry is hidden, such as the temporary files of editors."""
    return entry.startswith(".")


def listing_problem(directory: Path) -> str | None:
    """Return why the directory cannot be listed; ``None`` if it can."""
    try:
        os.scandir(directory).close()
    except OSError as error:
        return f"{printable_path(directory)}: {error.strerror}"
    return None


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
        DocumentPath(directory / f"{name}{suffix}", format, False)
        for suffix, format in _SUFFIXES.items()
    ]
    own = directory / name
    try:
        if _is_directory(own):
            paths += [
                DocumentPath(own / entry, format, True)
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
    # Paths as texts: this is called for each document that is read.
    own = f"{directory}/{name}"
    inside: list[str] = []
    if os.path.isdir(own):
        inside = [f"{own}/{entry}" for entry in _FILES_IN_DIRECTORY]
    entries = {os.path.split(path) for path in inside}
    for path in (*(f"{own}{suffix}" for suffix in _SUFFIXES), *inside):
        if os.path.islink(path):
            entries.add(os.path.split(os.path.realpath(path)))
    return entries


def ignored_file(directory: Path, name: str) -> Fault | None:
    """Return a fault if a file that was probably meant as a document is ignored.

    :param name: the name of the file: ``c1.YAML`` or ``c1.conf``, for example.
    :return: ``None`` if there is no such file.
    """
    stem, suffix = os.path.splitext(name)
    if suffix.lower() not in (*_SUFFIXES, ".conf"):
        return None
    path = directory / name
    if not os.path.isfile(path):
        return None
    right = suffix.lower() if suffix.lower() in _SUFFIXES else ".yaml"
    text = (
        "is ignored: documents are named NAME.yaml, NAME.yml or NAME.json; rename it "
        f"to {printable(stem)}{right}"
    )
    return Fault(printable_path(path), 0, text, breaks=False)


def directory_without_document(directory: Path, name: str) -> Fault | None:
    """Return a fault if the own directory of a container has no document.

    :param name: the name of the container, which has no document elsewhere.
    :return: ``None`` if there is no such directory.
    """
    own = directory / name
    if not is_container_name(name) or not os.path.isdir(own):
        return None
    text = f"is ignored: it has no {' and no '.join(_FILES_IN_DIRECTORY)}; write one"
    return Fault(printable_path(own), 0, text, breaks=False)
