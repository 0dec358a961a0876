# -*- test-case-name: tests.containers.test_document_parser -*-
"""Parsing a document: from the bytes of a file to a container.

A document is either the output of ``lxc config show --expanded NAME``, as YAML or
JSON, or the file ``backup.yaml`` that LXD writes itself. All values are text and
stay as they were written: ``true``, ``1`` and ``2017-12-21`` do not become a
boolean, a number or a date.
"""

from __future__ import annotations

import enum
import os.path
from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType

from attrs import frozen

from devlxd.containers.document_trees import (
    MAX_DOCUMENT,
    PIECES,
    Branch,
    DocumentError,
    Tree,
    Value,
    too_long,
)
from devlxd.containers.document_warnings import (
    MAX_WARNINGS,
    NO_ACCESS_KEYS,
    AccessKeys,
    DocumentWarning,
    config_warnings,
    top_level_warnings,
)
from devlxd.containers.json_trees import read_json, read_simple_json
from devlxd.containers.yaml_trees import read_yaml
from devlxd.model import Container
from devlxd.printable_text import printable
from devlxd.turns import Slices, finish

#: The maximum length of a JSON document that is parsed in one slice, in
#: characters.
MAX_SIMPLE_JSON = 64 * 1024

#: How an absent value is written in YAML and JSON.
_ABSENT = ("", "~", "null")

_WRITE_TEXT = "; write one value, in quotes or below | if it has several lines"


class Format(enum.Enum):
    """The format of a document."""

    #: The output of ``lxc config show --expanded``.
    YAML = "yaml"
    #: The same content as JSON.
    JSON = "json"
    #: LXD's ``backup.yaml``.
    BACKUP = "backup"


@frozen
class ParsedDocument:
    """The content of a parsed document.

    :ivar container: the container.
    :ivar warnings: likely mistakes.
    :ivar id_line: the line of the container's id; ``None`` if it has no id.
    """

    container: Container
    warnings: tuple[DocumentWarning, ...] = ()
    id_line: int | None = None


def parse_document(
    name: str,
    content: bytes,
    format: Format,
    origin: str = "",
    access_keys: AccessKeys = NO_ACCESS_KEYS,
    max_size: int = MAX_DOCUMENT,
) -> Slices[ParsedDocument]:
    """Parse the document of the container ``name``, in slices.

    :param content: the bytes of the document.
    :param origin: see `Container.origin`.
    :param access_keys: the config keys that are checked for mistakes.
    :param max_size: the maximum length, in bytes.
    :raises DocumentError: when the document is rejected.
    """
    if len(content) > max_size:
        raise DocumentError(too_long(max_size))
    text = _decode(content)
    if format is Format.JSON:
        parsed = _parse_simple_json(name, text, origin, access_keys)
        if parsed is not None:
            return parsed
        tree = yield from read_json(text, max_size)
    else:
        tree = yield from read_yaml(text, max_size)
    return (yield from _parse_tree(name, tree, format, origin, access_keys))


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentError("not UTF-8; save the file as UTF-8", line) from None


def _parse_simple_json(
    name: str, text: str, origin: str, access_keys: AccessKeys
) -> ParsedDocument | None:
    """Parse a short JSON document if no message needs to name a line of it.

    :return: ``None`` if the document needs `read_json`.
    """
    tree = read_simple_json(text) if len(text) <= MAX_SIMPLE_JSON else None
    if tree is None:
        return None
    try:
        parsed = finish(_parse_tree(name, tree, Format.JSON, origin, access_keys))
    except DocumentError:
        return None
    return parsed if parsed.id_line is None and not parsed.warnings else None


def _parse_tree(
    name: str, tree: Tree, format: Format, origin: str, access_keys: AccessKeys
) -> Slices[ParsedDocument]:
    document = _mapping(tree.root, "the document", tree.line)
    prefix = ""
    warnings: list[DocumentWarning] = []
    if format is Format.BACKUP:
        prefix = "expanded_"
        document = _container_in_backup(document)
    else:
        warnings += islice(
            top_level_warnings(document.lines, access_keys), MAX_WARNINGS
        )
    section = _section(document, f"{prefix}config")
    config = yield from _text_mapping(section, f"{prefix}config")
    warnings += yield from config_warnings(config, section.lines, access_keys)
    container = Container(
        name,
        config,
        (yield from _parse_devices(_section(document, f"{prefix}devices"))),
        id=_text(document, "id"),
        hostname=_text(document, "name") or name,
        runtime=_text(document, "runtime"),
        lxcpath=_lxcpath(document),
        origin=origin,
    )
    return ParsedDocument(container, tuple(warnings), document.lines.get("id"))


def _container_in_backup(document: Branch) -> Branch:
    """Find the container in a ``backup.yaml``.

    LXD before 5.0 calls it ``container``, and later versions ``instance``.
    """
    for key in ("instance", "container"):
        if document.entries.get(key):
            return _mapping(document.entries[key], "container", document.lines[key])
    raise DocumentError(
        "there is no container in it; write the output of lxc config show --expanded "
        "to a file config.yaml instead"
    )


def _text(document: Branch, key: str) -> str:
    value = document.entries.get(key, "")
    if not isinstance(value, str):
        raise DocumentError(f"{key} is not text{_WRITE_TEXT}", value.line)
    return "" if value in _ABSENT else value


def _lxcpath(document: Branch) -> str:
    path = _text(document, "lxcpath")
    if not path:
        return ""
    if not path.startswith("/"):
        line = document.lines["lxcpath"]
        raise DocumentError("lxcpath is not absolute; begin it with /", line)
    return os.path.normpath(path)


def _mapping(value: Value | None, what: str, line: int) -> Branch:
    if isinstance(value, Branch) and value.is_mapping:
        return value
    problem = "is empty" if value == "" else "is not a mapping"
    raise DocumentError(f"{what} {problem}; write lines KEY: VALUE there", line)


def _section(parent: Branch, key: str, what: str = "") -> Branch:
    """Return a mapping in ``parent``; an empty one if it is absent."""
    value = parent.entries.get(key, "")
    if isinstance(value, str) and value in _ABSENT:
        return Branch(is_mapping=True, line=parent.line)
    return _mapping(value, what or key, parent.lines[key])


def _text_mapping(section: Branch, what: str) -> Slices[Mapping[str, str]]:
    texts = {}
    for number, (key, value) in enumerate(section.entries.items(), 1):
        if not isinstance(value, str):
            reason = f"{what}: {printable(key)} is not text{_WRITE_TEXT}"
            raise DocumentError(reason, value.line)
        texts[key] = value
        if number % (16 * PIECES) == 0:
            yield
    # `Container` uses such a mapping as it is: copying it takes long.
    return MappingProxyType(texts)


def _parse_devices(section: Branch) -> Slices[Mapping[str, Mapping[str, str]]]:
    if "" in section.lines:
        reason = "a device without a name; write NAME: before its keys"
        raise DocumentError(reason, section.lines[""])
    devices = {}
    for number, name in enumerate(list(section.entries), 1):
        what = f"devices: {printable(name)}"
        devices[name] = yield from _text_mapping(_section(section, name, what), what)
        # Freeing the whole tree in one slice would take long.
        del section.entries[name]
        if number % PIECES == 0:
            yield
    return MappingProxyType(devices)
