# -*- test-case-name: tests.containers.test_documents -*-
"""Documents -> containers: the text of a file, read as config and devices.

A document is what ``lxc config show --expanded NAME`` prints, as YAML or as
JSON, or a record: the ``backup.yaml`` that LXD keeps itself. Values are text:
they come out as they were written, never as a number, a truth or a date.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Mapping
from typing import NoReturn, TypeAlias

import yaml
from attrs import field, frozen

from devlxd.model import Container

#: How long a document may be, in bytes.
MAX_DOCUMENT = 16 * 1024 * 1024

#: How deep a document may nest; LXD's own records need seven levels.
MAX_DEPTH = 64

#: How much of a key or a path a message shows, in characters.
_MAX_SHOWN = 200

#: What YAML and JSON write for "nothing here".
_NOTHING = ("", "~", "null")


class DocumentError(Exception):
    """A document that cannot be read.

    :ivar reason: what is wrong, in words.
    :ivar line: where, counted from 1; ``None`` where no line can be named.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason, line)
        self.reason = reason
        self.line = line


def shown(text: str) -> str:
    """Return ``text`` as it may stand in one line of a log."""
    short = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
    return short if short.isprintable() else ascii(short)


class Form(enum.Enum):
    """How a document is written down."""

    YAML = "yaml"
    JSON = "json"
    RECORD = "record"


@frozen
class _Node:
    """A piece of a document.

    :ivar line: the line that it starts in.
    :ivar size: how large it is, in nodes and characters, aliases counted as
        what they stand for.
    """

    value: _Value
    line: int | None
    size: int = field(init=False)

    @size.default
    def _count(self) -> int:
        if isinstance(self.value, str):
            return 1 + len(self.value)
        if isinstance(self.value, list):
            return 1 + sum(node.size for node in self.value)
        return 1 + sum(1 + len(key) + node.size for key, node in self.value.items())


_Value: TypeAlias = "str | list[_Node] | dict[str, _Node]"


def read_container(name: str, content: bytes, form: Form) -> Container:
    """Read the container ``name`` from the bytes of its document.

    :raises DocumentError: when ``content`` is no such document.
    """
    if len(content) > MAX_DOCUMENT:
        raise DocumentError(f"longer than {MAX_DOCUMENT} bytes")
    text = _decoded(content)
    parse = _parse_json if form is Form.JSON else _parse_yaml
    document = _mapping(parse(text), "the document")
    prefix = ""
    if form is Form.RECORD:
        prefix = "expanded_"
        document = _part_of_record(document)
    return Container(
        name,
        _texts(document.get(f"{prefix}config"), f"{prefix}config"),
        _devices(document.get(f"{prefix}devices")),
        id=_text(document, "id"),
        hostname=_text(document, "name") or name,
    )


def _part_of_record(document: Mapping[str, _Node]) -> Mapping[str, _Node]:
    """Find the container in LXD's own record.

    LXD calls it ``container``, since 5.0 also ``instance``.
    """
    part = document.get("instance") or document.get("container")
    if part is None:
        raise DocumentError("no container in it")
    return _mapping(part, "container")


def _text(document: Mapping[str, _Node], key: str) -> str:
    node = document.get(key)
    if node is None:
        return ""
    if not isinstance(node.value, str):
        raise DocumentError(f"{key} is not text", node.line)
    return node.value


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentError("not UTF-8", line) from None


def _mapping(node: _Node, what: str) -> Mapping[str, _Node]:
    if isinstance(node.value, dict):
        return node.value
    if isinstance(node.value, str) and not node.value:
        raise DocumentError(f"{what} is empty", node.line)
    raise DocumentError(f"{what} is not a mapping", node.line)


def _optional_mapping(node: _Node | None, what: str) -> Mapping[str, _Node]:
    if node is None or (isinstance(node.value, str) and node.value in _NOTHING):
        return {}
    return _mapping(node, what)


def _texts(node: _Node | None, what: str) -> dict[str, str]:
    texts = {}
    for key, value in _optional_mapping(node, what).items():
        if not isinstance(value.value, str):
            raise DocumentError(f"{what}: {shown(key)} is not text", value.line)
        texts[key] = value.value
    return texts


def _devices(node: _Node | None) -> dict[str, dict[str, str]]:
    devices = _optional_mapping(node, "devices")
    if "" in devices:
        raise DocumentError("a device without a name", devices[""].line)
    return {
        name: _texts(device, f"devices: {shown(name)}")
        for name, device in devices.items()
    }


# YAML, by its events: scalars arrive as they were written, depth is bounded,
# and an alias is a reference to a node, so that a bomb is weighed, not set off.


def _parse_yaml(text: str) -> _Node:
    try:
        return _YAMLReader(text).document()
    except yaml.MarkedYAMLError as error:
        reason = error.problem or error.context or "not YAML"
        if "nesting depth" in reason:
            # libyaml looks ahead, and has a bound of its own since PyYAML 6.0.4.
            reason = "nested too deeply"
        mark = error.problem_mark or error.context_mark
        raise DocumentError(reason, mark.line + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError(error.reason, line) from None


class _YAMLReader:
    """Reads one document off the event stream of libyaml."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.CBaseLoader)
        self._anchors: dict[str, _Node] = {}

    def document(self) -> _Node:
        self._skip(yaml.StreamStartEvent)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise DocumentError("the document is empty")
        document = self._node(next(self._events), MAX_DEPTH)
        self._skip(yaml.DocumentEndEvent)
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise DocumentError("more than one document", _line(event))
        if document.size > MAX_DOCUMENT:
            raise DocumentError("its aliases make it too large")
        return document

    def _skip(self, kind: type[yaml.Event]) -> None:
        event = next(self._events)
        assert isinstance(event, kind), event

    def _node(self, event: yaml.Event, depth: int) -> _Node:
        line = _line(event)
        if depth == 0:
            raise DocumentError("nested too deeply", line)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise DocumentError("an alias of nothing", line)
            return self._anchors[event.anchor]
        assert isinstance(event, yaml.NodeEvent), event
        node = _Node(self._value(event, depth - 1), line)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _value(self, event: yaml.NodeEvent, depth: int) -> _Value:
        if isinstance(event, yaml.ScalarEvent):
            return str(event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            return list(self._items(depth))
        return self._pairs(depth)

    def _items(self, depth: int) -> Iterator[_Node]:
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                return
            yield self._node(event, depth)

    def _pairs(self, depth: int) -> dict[str, _Node]:
        pairs: dict[str, _Node] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._node(event, depth).value
            if not isinstance(key, str):
                raise DocumentError("a key that is not text", _line(event))
            if key in pairs:
                raise DocumentError(f"{shown(key)} stands twice", _line(event))
            pairs[key] = self._node(next(self._events), depth)
        return pairs


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None
    line: int = event.start_mark.line
    return line + 1


# JSON. Its decoder tells no lines but those of broken syntax; what is wrong
# with the content is found by its name.


def _parse_json(text: str) -> _Node:
    try:
        value = json.loads(
            text,
            object_pairs_hook=_json_object,
            parse_int=str,
            parse_float=str,
            parse_constant=str,
        )
        return _json_node(value, MAX_DEPTH)
    except json.JSONDecodeError as error:
        raise DocumentError(error.msg, error.lineno) from None
    except RecursionError:
        _too_deep()


def _json_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in pairs:
        if key in values:
            raise DocumentError(f"{shown(key)} stands twice")
        values[key] = value
    return values


def _json_node(value: object, depth: int) -> _Node:
    if depth == 0:
        _too_deep()
    if isinstance(value, dict):
        pairs = {_json_text(k): _json_node(v, depth - 1) for k, v in value.items()}
        return _Node(pairs, None)
    if isinstance(value, list):
        return _Node([_json_node(item, depth - 1) for item in value], None)
    if isinstance(value, str):
        return _Node(_json_text(value), None)
    # true, false and null, as they were written
    return _Node(json.dumps(value), None)


def _json_text(text: str) -> str:
    r"""Return ``text``, unless it holds half a ``\ud83d\ude00``: no UTF-8 says that."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DocumentError(f"{shown(text)} is not text") from None
    return text


def _too_deep() -> NoReturn:
    raise DocumentError("nested too deeply")
