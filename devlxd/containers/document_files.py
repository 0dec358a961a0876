# -*- test-case-name: tests.containers.test_document_files -*-
"""Reading the file of a document."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from attrs import evolve, frozen

from devlxd.containers.document_parser import ParsedDocument, parse_document
from devlxd.containers.document_paths import DocumentPath, UnreadableError
from devlxd.containers.document_trees import MAX_DOCUMENT, DocumentError
from devlxd.containers.document_warnings import (
    AccessKeys,
    public_warning,
    secret_key,
)
from devlxd.files import birth_time_ns, open_regular
from devlxd.model import is_container_name
from devlxd.turns import Slices

#: Why a name is rejected.
NOT_A_NAME = (
    "not a valid container name; use at most 128 ASCII letters, digits, _, . and -, "
    "and begin with none of . and -"
)


@frozen
class Document:
    """The content of a document.

    :ivar path: where it was read from.
    :ivar content: its bytes.
    :ivar is_readable_by_all: whether its mode lets every user read it.
    :ivar max_size: the maximum length that the parser accepts, in bytes.
    :ivar origin: see `Container.origin`: the inode and the birth time of the
        document, or of the container's own directory around it; empty if the birth
        time is unknown. It does not contain the number of the device, which
        may change when the host boots.
    """

    path: DocumentPath
    content: bytes
    origin: str
    is_readable_by_all: bool = False
    max_size: int = MAX_DOCUMENT


def read_document(
    name: str, paths: list[DocumentPath], max_size: int = MAX_DOCUMENT
) -> Document | None:
    """Read the document of the container ``name``.

    :param paths: all documents of the container.
    :param max_size: the maximum length, in bytes; a document may be read whose length
        is one more, and which the parser rejects.
    :return: ``None`` if there is none.
    :raises UnreadableError: when it cannot be read, there is more than one, or
        ``name`` is not a valid name.
    """
    if not paths:
        return None
    path = paths[0]
    if not is_container_name(name):
        raise UnreadableError(path.printable(), NOT_A_NAME)
    if len(paths) > 1:
        others = " and ".join(other.printable() for other in paths[1:])
        reason = f"more than one document for {name}: also {others}; keep one of them"
        raise UnreadableError(path.printable(), reason)
    try:
        with open(open_regular(path.path), "rb") as file:
            content, mode = _read_whole(path, file, max_size)
            own = path.path.parent if path.is_in_own_directory else file.fileno()
            is_public = bool(mode & stat.S_IROTH)
            return Document(path, content, _origin(own), is_public, max_size)
    except OSError as error:
        raise UnreadableError.from_os_error(error, path.path) from None


def parse(
    name: str,
    document: Document,
    access_keys: AccessKeys,
) -> Slices[ParsedDocument]:
    """Parse the document of the container ``name``, in slices.

    :raises UnreadableError: when the document is rejected.
    """
    path = document.path
    try:
        parsed = yield from parse_document(
            name,
            document.content,
            path.format,
            document.origin,
            access_keys,
            document.max_size,
        )
    except DocumentError as error:
        file = path.printable()
        raise UnreadableError(file, error.reason, error.line or 0) from None
    if document.is_readable_by_all:
        key = yield from secret_key(parsed.container.config)
        if key is not None and _is_reachable_by_all(path.path):
            return evolve(parsed, warnings=(*parsed.warnings, public_warning(key)))
    return parsed


def _is_reachable_by_all(path: Path) -> bool:
    """Return whether every user may search the directories that contain a file."""
    parents = Path(os.path.realpath(path)).parents
    try:
        return all(os.stat(parent).st_mode & stat.S_IXOTH for parent in parents)
    except OSError:
        return False


def _read_whole(path: DocumentPath, file: BinaryIO, max_size: int) -> tuple[bytes, int]:
    """Read a file, and check that it was not modified meanwhile.

    :return: its content and its mode.
    """
    before = os.fstat(file.fileno())
    # One byte more than allowed, so that the parser rejects a longer document.
    content = file.read(max_size + 1)
    after = os.fstat(file.fileno())
    was_modified = before.st_mtime_ns != after.st_mtime_ns
    if was_modified or len(content) < min(after.st_size, max_size):
        reason = "was modified while it was read"
        raise UnreadableError(path.printable(), reason, is_transient=True)
    return content, after.st_mode


def _origin(own: Path | int) -> str:
    birth = birth_time_ns(own)
    return "" if birth is None else f"{os.stat(own).st_ino}:{birth}"
