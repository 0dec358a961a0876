# -*- test-case-name: tests.containers.test_documents -*-
"""Documents -> containers: the text of a file, read as config and devices.

A document is what ``lxc config show --expanded NAME`` prints, as YAML or as
JSON, or a record: the ``backup.yaml`` that LXD keeps itself. Values are text:
they come out as they were written, never as a number, a truth or a date.
"""

from __future__ import annotations

import enum
import os.path
from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType

from attrs import frozen

from devlxd.containers.hints import MAX_HINTS, Hint, hints_at_top, hints_in_config
from devlxd.containers.trees import (
    MAX_DOCUMENT,
    PIECES,
    Branch,
    DocumentError,
    Tree,
    Value,
    json_tree,
    plain_json_tree,
    shown,
    yaml_tree,
)
from devlxd.model import Container
from devlxd.turns import Slices, finish

#: How long a document may be that is read in one go, in characters.
MAX_PLAIN = 64 * 1024

#: What YAML and JSON write for "nothing here".
_NOTHING = ("", "~", "null")


class Form(enum.Enum):
    """How a document is written down."""

    YAML = "yaml"
    JSON = "json"
    RECORD = "record"


@frozen
class Reading:
    """What a document says.

    :ivar container: the container.
    :ivar hints: what looks like a mistake.
    :ivar id_line: the line of the container's id, if it has one.
    """

    container: Container
    hints: tuple[Hint, ...] = ()
    id_line: int | None = None


def read_container(name: str, content: bytes, form: Form) -> Container:
    """Read the container ``name`` from the bytes of its document, in one go.

    :raises DocumentError: when ``content`` is no such document.
    """
    return finish(reading(name, content, form)).container


def reading(name: str, content: bytes, form: Form, origin: str = "") -> Slices[Reading]:
    """Read the container ``name`` from the bytes of its document, in slices.

    :param origin: what becomes `Container.origin`.
    :raises DocumentError: when ``content`` is no such document.
    """
    if len(content) > MAX_DOCUMENT:
        raise DocumentError(f"longer than {MAX_DOCUMENT} bytes")
    text = _decoded(content)
    if form is Form.JSON:
        plain = _plain_reading(name, text, origin)
        if plain is not None:
            return plain
    tree = yield from json_tree(text) if form is Form.JSON else yaml_tree(text)
    return (yield from _reading(name, tree, form, origin))


def _plain_reading(name: str, text: str, origin: str) -> Reading | None:
    """Read a short JSON document of which no line has to be named.

    :return: ``None`` when it is not that.
    """
    tree = plain_json_tree(text) if len(text) <= MAX_PLAIN else None
    if tree is None:
        return None
    try:
        read = finish(_reading(name, tree, Form.JSON, origin))
    except DocumentError:
        return None
    return read if read.id_line is None and not read.hints else None


def _reading(name: str, tree: Tree, form: Form, origin: str) -> Slices[Reading]:
    document = _mapping(tree.root, "the document", tree.line)
    prefix = ""
    hints: list[Hint] = []
    if form is Form.RECORD:
        prefix = "expanded_"
        document = _part_of_record(document)
    else:
        hints += islice(hints_at_top(document.lines), MAX_HINTS)
    section = _section(document, f"{prefix}config")
    config = yield from _texts(section, f"{prefix}config")
    hints += yield from hints_in_config(config, section.lines)
    container = Container(
        name,
        config,
        (yield from _devices(_section(document, f"{prefix}devices"))),
        id=_text(document, "id"),
        hostname=_text(document, "name") or name,
        runtime=_text(document, "runtime"),
        lxcpath=_lxcpath(document),
        origin=origin,
    )
    return Reading(container, tuple(hints), document.lines.get("id"))


def _part_of_record(document: Branch) -> Branch:
    """Find the container in LXD's own record.

    LXD calls it ``container``, since 5.0 also ``instance``.
    """
    for key in ("instance", "container"):
        if document.entries.get(key):
            return _mapping(document.entries[key], "container", document.lines[key])
    raise DocumentError("no container in it")


def _text(document: Branch, key: str) -> str:
    value = document.entries.get(key, "")
    if not isinstance(value, str):
        raise DocumentError(f"{key} is not text", value.line)
    return "" if value in _NOTHING else value


def _lxcpath(document: Branch) -> str:
    path = _text(document, "lxcpath")
    if not path:
        return ""
    if not path.startswith("/"):
        raise DocumentError("lxcpath is no absolute path", document.lines["lxcpath"])
    return os.path.normpath(path)


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentError("not UTF-8", line) from None


def _mapping(value: Value | None, what: str, line: int) -> Branch:
    if isinstance(value, Branch) and value.is_mapping:
        return value
    problem = "is empty" if value == "" else "is not a mapping"
    raise DocumentError(f"{what} {problem}", line)


def _section(parent: Branch, key: str, what: str = "") -> Branch:
    """Return a mapping in ``parent``; an empty one where there is nothing."""
    value = parent.entries.get(key, "")
    if isinstance(value, str) and value in _NOTHING:
        return Branch(is_mapping=True, line=parent.line)
    return _mapping(value, what or key, parent.lines[key])


def _texts(section: Branch, what: str) -> Slices[Mapping[str, str]]:
    texts = {}
    for number, (key, value) in enumerate(section.entries.items(), 1):
        if not isinstance(value, str):
            raise DocumentError(f"{what}: {shown(key)} is not text", value.line)
        texts[key] = value
        if number % (16 * PIECES) == 0:
            yield
    return MappingProxyType(texts)


def _devices(section: Branch) -> Slices[Mapping[str, Mapping[str, str]]]:
    if "" in section.lines:
        raise DocumentError("a device without a name", section.lines[""])
    devices = {}
    for number, name in enumerate(list(section.entries), 1):
        what = f"devices: {shown(name)}"
        devices[name] = yield from _texts(_section(section, name, what), what)
        # To free all of the tree at its end would take long.
        del section.entries[name]
        if number % PIECES == 0:
            yield
    return MappingProxyType(devices)
