# -*- test-case-name: tests.containers.test_etcd_store -*-
"""Parsing documents that are the values of keys in etcd."""

from __future__ import annotations

from devlxd.containers.document_files import NOT_A_NAME
from devlxd.containers.document_parser import Format, ParsedDocument, parse_document
from devlxd.containers.document_paths import UnreadableError
from devlxd.containers.document_trees import DocumentError, too_long
from devlxd.containers.document_warnings import AccessKeys
from devlxd.etcd.changes import Change
from devlxd.model import is_container_name
from devlxd.printable_text import printable, printable_path
from devlxd.turns import Slices

#: What may be in front of a document.
_WHITESPACE = b" \t\r\n"


def name_of(key: bytes) -> str:
    """Return the name of the container that a key has; it may be no valid name.

    :param key: the key without the prefix.
    """
    return key.decode("utf-8", "surrogateescape")


def key_of(name: str) -> bytes:
    """Return the key of a container, without the prefix."""
    return name.encode("utf-8", "surrogateescape")


def parse_value(
    name: str,
    place: str,
    change: Change,
    access_keys: AccessKeys,
    max_size: int,
) -> Slices[ParsedDocument]:
    """Parse the value of a key, in slices.

    There is no file name: what begins with ``{`` is JSON, and all else is YAML. (In
    YAML, the escapes of some texts in JSON are errors.)

    :param place: where the document is, for people.
    :param access_keys: the config keys that are checked for mistakes.
    :param max_size: the maximum length, in bytes.
    :raises UnreadableError: when it is rejected.
    """
    if not is_container_name(name):
        # Keys may be very long.
        raise UnreadableError(printable(place), NOT_A_NAME)
    place = printable_path(place)
    content = change.kv.value if change.kv is not None else None
    if content is None:
        raise UnreadableError(place, too_long(max_size))
    is_json = content.lstrip(_WHITESPACE).startswith(b"{")
    format = Format.JSON if is_json else Format.YAML
    try:
        return (
            yield from parse_document(
                name, content, format, change.origin, access_keys, max_size
            )
        )
    except DocumentError as error:
        raise UnreadableError(place, error.reason, error.line or 0) from None
