# -*- test-case-name: tests.containers.test_document_files -*-
"""Reading the file of a document."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from devlxd.containers.document_parser import ParsedDocument, parse_document
from devlxd.containers.document_paths import DocumentPath, UnreadableError
from devlxd.containers.document_trees import MAX_DOCUMENT, DocumentError
from devlxd.containers.document_warnings import AccessKeys
from devlxd.files import birth_time_ns, open_regular
from devlxd.model import is_container_name
from devlxd.turns import Slices


@frozen
class Document:
    """The content of a document.

    :ivar path: where it was read from.
    :ivar content: its bytes.
    :ivar origin: see `Container.origin`: the inode and the birth time of the
        document, or of the container's own directory around it; empty if the birth
        time is unknown. It does not contain the number of the device, which
        may change when the host boots.
    """

    path: DocumentPath
    content: bytes
    origin: str


def read_document(name: str, paths: list[DocumentPath]) -> Document | None:
    """Read the document of the container ``name``.

    :param paths: all documents of the container.
    :return: ``None`` if there is none.
    :raises UnreadableError: when it cannot be read, there is more than one, or
        ``name`` is not a valid name.
    """
    if not paths:
        return None
    path = paths[0]
    if not is_container_name(name):
        raise UnreadableError(path.printable(), "not a valid container name")
    if len(paths) > 1:
        found = " and ".join(path.printable() for path in paths)
        raise UnreadableError(found, f"more than one document for {name}")
    try:
        with open(open_regular(path.path), "rb") as file:
            content = _read_whole(path, file.fileno(), file)
            own = path.path.parent if path.is_in_own_directory else file.fileno()
            return Document(path, content, _origin(own))
    except OSError as error:
        raise UnreadableError.from_os_error(error, path.path) from None


def parse(
    name: str, document: Document, access_keys: AccessKeys
) -> Slices[ParsedDocument]:
    """Parse the document of the container ``name``, in slices.

    :raises UnreadableError: when the document is rejected.
    """
    path = document.path
    try:
        return (
            yield from parse_document(
                name, document.content, path.format, document.origin, access_keys
            )
        )
    except DocumentError as error:
        raise UnreadableError(path.printable(error.line), error.reason) from None


def _read_whole(path: DocumentPath, descriptor: int, file: BinaryIO) -> bytes:
    """Read a file, and check that it was not modified meanwhile."""
    before = os.fstat(descriptor)
    # One byte more than allowed, so that the parser rejects a longer document.
    content = file.read(MAX_DOCUMENT + 1)
    after = os.fstat(descriptor)
    was_modified = before.st_mtime_ns != after.st_mtime_ns
    if was_modified or len(content) < min(after.st_size, MAX_DOCUMENT):
        reason = "was modified while it was read"
        raise UnreadableError(path.printable(), reason, is_transient=True)
    return content


def _origin(own: Path | int) -> str:
    birth = birth_time_ns(own)
    return "" if birth is None else f"{os.stat(own).st_ino}:{birth}"
