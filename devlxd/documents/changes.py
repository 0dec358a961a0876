# -*- test-case-name: tests.documents.test_changes -*-
"""Changing one key of a document: comments, order, quotes and long lines stay.

The new text replaces the characters of the old one, or is added as a line; all other
characters stay. What a document says afterwards is compared with what it should say:
what cannot be changed alone, as it is used by an alias for example, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import yaml
from attrs import frozen

from devlxd.containers.document_parser import Format
from devlxd.documents.block_edits import BlockEditor, NotAloneError
from devlxd.documents.flow_edits import FlowEditor
from devlxd.documents.json_nodes import read_json_nodes
from devlxd.documents.nodes import Kind, Node, Outline, outline
from devlxd.documents.scalars import write_json, write_yaml_flow
from devlxd.documents.yaml_nodes import read_yaml_nodes
from devlxd.printable_text import printable

_BYTE_ORDER_MARK = "\ufeff"

_NEWLINE = re.compile("\r?\n")


class ChangeError(Exception):
    """A document cannot be changed so.

    :ivar reason: the problem, in words.
    :ivar line: its line, counted from 1; 0 if there is none.
    """

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason, line)
        self.reason = reason
        self.line = line


class NotSetError(ChangeError):
    """What should be removed is not there."""


@frozen
class SetValue:
    """Gives a key a value; mappings around it that are missing are made.

    :ivar path: where it is: ``("config", "user.a")``, for example.
    :ivar value: the value.
    """

    path: tuple[str, ...]
    value: str

    def apply(self, document: TextOfDocument) -> str:
        """Return the document with the value."""
        parent, mapping = None, document.root
        for depth, name in enumerate(self.path):
            entry = mapping.entry(name)
            if entry is None:
                return document.insert(mapping, self.path[depth:], self.value)
            key, child = entry
            if depth + 1 == len(self.path):
                return document.replace(mapping, key, child, self.value)
            if child.is_empty:
                rest = self.path[depth + 1 :]
                return document.fill(mapping, key, child, rest, self.value)
            parent, mapping = key, child
            if not mapping.is_mapping:
                raise NotAloneError(parent.end)
        raise AssertionError("the path is empty")

    def expected(self, old: Outline) -> Outline:
        """Return what the document says afterwards."""
        return _with(old, self.path, self.value)


@frozen
class Remove:
    """Removes a key, or a device.

    :ivar path: where it is: ``("devices", "eth0")``, for example.
    """

    path: tuple[str, ...]

    def apply(self, document: TextOfDocument) -> str:
        """Return the document without it.

        :raises NotSetError: when it is not there.
        """
        parent, mapping = None, document.root
        for name in self.path[:-1]:
            entry = mapping.entry(name)
            if entry is None or entry[1].is_empty:
                raise NotSetError(f"{printable(self.path[-1])} is not set")
            parent, mapping = entry
        names = [key.text for key, _ in mapping.entries]
        if self.path[-1] not in names:
            raise NotSetError(f"{printable(self.path[-1])} is not set")
        return document.remove(mapping, names.index(self.path[-1]), parent)

    def expected(self, old: Outline) -> Outline:
        """Return what the document says afterwards."""
        return _without(old, self.path)


class TextOfDocument:
    """The text of a document and its nodes.

    :param text: the text, without a byte order mark.
    :param format: its format.
    """

    def __init__(self, text: str, format: Format) -> None:
        is_json = format is Format.JSON
        self.text = text
        self.root = read_json_nodes(text) if is_json else read_yaml_nodes(text)
        newline = _NEWLINE.search(text)
        step = self._step()
        self._block = BlockEditor(text, newline[0] if newline else "\n", step)
        flow = partial(FlowEditor, text, keeps_colons=is_json, step=" " * step)
        self._flow = flow(write=write_json if is_json else write_yaml_flow)

    def _step(self) -> int:
        """Return how many spaces the document indents one level with."""
        for key, value in self.root.entries:
            # The braces of a whole document are one level themselves.
            inner = value.entries[0][0] if value.kind is Kind.BLOCK_MAPPING else key
            if inner is not key or self.root.kind is Kind.FLOW_MAPPING:
                outer = key.start if inner is not key else self.root.start
                step = self._column(inner.start) - self._column(outer)
                if 0 < step < 16 and "\n" in self.text[outer : inner.start]:
                    return step
        return 2

    def _column(self, position: int) -> int:
        return position - self.text.rfind("\n", 0, position) - 1

    def insert(self, mapping: Node, names: Sequence[str], value: str) -> str:
        """Return the document with an entry added to a mapping."""
        if mapping.kind is Kind.BLOCK_MAPPING:
            return self._block.insert(mapping, names, value)
        return self._flow.insert(mapping, names, value)

    def replace(self, mapping: Node, key: Node, old: Node, value: str) -> str:
        """Return the document with another value of an entry of a mapping."""
        if mapping.kind is Kind.BLOCK_MAPPING:
            return self._block.replace(key, old, value)
        return self._flow.replace(old, value)

    def fill(
        self, mapping: Node, key: Node, empty: Node, names: Sequence[str], value: str
    ) -> str:
        """Return the document with the first entry of an empty entry of a mapping."""
        has_comment = len(self.text[empty.start : empty.end].splitlines()) > 1
        if mapping.kind is Kind.BLOCK_MAPPING and not has_comment:
            return self._block.fill(key, empty, names, value)
        return self._flow.insert(empty, names, value)

    def remove(self, mapping: Node, index: int, parent: Node | None) -> str:
        """Return the document without an entry of a mapping."""
        if mapping.kind is Kind.BLOCK_MAPPING:
            return self._block.remove(mapping, index, parent)
        return self._flow.remove(mapping, index)


def changed(text: str, format: Format, changes: Sequence[SetValue | Remove]) -> str:
    """Return the text of a document after changes, one after the other.

    :param text: a valid document.
    :param format: its format.
    :raises ChangeError: when something cannot be changed alone.
    :raises NotSetError: when something to remove is not there.
    """
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    document = TextOfDocument(text.removeprefix(mark), format)
    for change in changes:
        document = _changed_once(document, format, change)
    return mark + document.text


def _changed_once(
    document: TextOfDocument, format: Format, change: SetValue | Remove
) -> TextOfDocument:
    old = outline(document.root)
    expected = change.expected(old)
    if expected == old and isinstance(change, SetValue):
        return document
    position = 0
    try:
        changed = TextOfDocument(change.apply(document), format)
        if outline(changed.root) == expected:
            return changed
    except NotAloneError as error:
        position = error.position
    except (yaml.YAMLError, ValueError):
        pass
    name = printable(change.path[-1])
    line = document.text.count("\n", 0, position) + 1 if position else 0
    raise ChangeError(
        f"{name} cannot be changed without changing something else, because of an "
        "anchor, an alias or the way in which it is written; use devlxd container edit",
        line,
    )


def _with(old: Outline, path: Sequence[str], value: str) -> Outline:
    if not path:
        return value
    new = dict(old) if isinstance(old, dict) else {}
    new[path[0]] = _with(new.get(path[0], ""), path[1:], value)
    return new


def _without(old: Outline, path: Sequence[str]) -> Outline:
    if not isinstance(old, dict):
        return old
    new = dict(old)
    if path[1:] and path[0] in new:
        new[path[0]] = _without(new[path[0]], path[1:])
    else:
        new.pop(path[0], None)
    return new
