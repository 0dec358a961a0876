# -*- test-case-name: tests.documents.test_changes -*-
"""Changing mappings of YAML that have one key on a line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from devlxd.documents.nodes import Kind, Node, line_end, line_start
from devlxd.documents.scalars import WrittenScalar, write_yaml, write_yaml_flow

#: What may follow a value in its line.
_REST_OF_LINE = re.compile(r"[ \t]*(?:[ \t]#.*)?")

#: The line of ``|`` or ``>``, and the comment in it.
_HEADER = re.compile(r"[^#\r\n]*?([ \t]+#[^\r\n]*)?(?=\r|\n|\Z)")

_COLON = re.compile(r"[ \t]*:")


class NotAloneError(Exception):
    """A place in a document cannot be changed without changing others.

    :ivar position: where it is, in characters.
    """

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


@frozen
class BlockEditor:
    """Changes mappings that have one key on a line.

    :param text: the document.
    :param newline: the line break of its lines.
    :param step: how many spaces what is one level deeper is indented.
    """

    text: str
    newline: str
    step: int

    def replace(self, key: Node, value: Node, new: str) -> str:
        """Return the document with another value of a key.

        :raises NotAloneError: when there is more in its line.
        """
        written = write_yaml(new, value.kind)
        start, end = value.start, value.end
        rest = ""
        if value.kind is Kind.BLOCK:
            header = _HEADER.match(self.text, start)
            rest = (header and header[1]) or ""
        elif written.body:
            end = line_end(self.text, end)
            rest = self._rest(value.end, end)
        space = " " if self.text[start - 1] == ":" else ""
        lines = self._body(written, self._column(key))
        head = f"{space}{written.head}{rest}"
        return self._with_lines(start, end, [head, *lines], bool(lines))

    def insert(self, mapping: Node, names: Sequence[str], value: str) -> str:
        """Return the document with a value that is added to a mapping with others.

        :param names: its key; before it those of the mappings to make around it.
        """
        column = self._column(mapping.entries[0][0])
        end = line_end(self.text, mapping.end)
        lines = self._lines(names, value, column)
        return self._with_lines(end, end, ["", *lines], len(lines) > len(names))

    def fill(self, key: Node, empty: Node, names: Sequence[str], value: str) -> str:
        """Return the document with a value that is added to a mapping without others.

        :param key: the key of the mapping.
        :param empty: the mapping: ``{}``, ``null`` or nothing.
        :param names: the key of the value; before it those of the mappings to make
            around it.
        :raises NotAloneError: when there is more in its line.
        """
        end = line_end(self.text, empty.end)
        rest = self._rest(empty.end, end)
        start = len(self.text[: empty.start].rstrip(" \t"))
        lines = self._lines(names, value, self._column(key) + self.step)
        return self._with_lines(start, end, [rest, *lines], len(lines) > len(names))

    def remove(self, mapping: Node, index: int, parent: Node | None) -> str:
        """Return the document without an entry of a mapping.

        :param parent: the key of the mapping; ``None`` for the whole document.
        :raises NotAloneError: when there is more in its lines.
        """
        key, value = mapping.entries[index]
        start = line_start(self.text, key.start)
        end = line_end(self.text, max(key.end, value.end))
        if self.text[start : key.start].strip():
            raise NotAloneError(key.start)
        if self.text.startswith(self.newline, end):
            end += len(self.newline)
        elif end == len(self.text):
            start = len(self.text[:start].removesuffix(self.newline))
        text = self.text[:start] + self.text[end:]
        if len(mapping.entries) > 1:
            return text
        if parent is None:
            raise NotAloneError(key.start)
        colon = _COLON.match(self.text, parent.end)
        if colon is None:
            raise NotAloneError(parent.end)
        self._rest(colon.end(), line_end(self.text, colon.end()))
        return f"{text[: colon.end()]} {{}}{text[colon.end() :]}"

    def _rest(self, start: int, end: int) -> str:
        """Return white space and a comment at the end of a line."""
        rest = self.text[start:end]
        if not _REST_OF_LINE.fullmatch(rest):
            raise NotAloneError(start)
        return rest.rstrip()

    def _lines(self, names: Sequence[str], value: str, column: int) -> list[str]:
        """Return the lines of a new value and of the mappings around it."""
        head = f"{' ' * column}{write_yaml_flow(names[0])}:"
        if names[1:]:
            return [head, *self._lines(names[1:], value, column + self.step)]
        written = write_yaml(value)
        return [f"{head} {written.head}", *self._body(written, column)]

    def _body(self, written: WrittenScalar, column: int) -> list[str]:
        # ruamel.yaml indents by two spaces, and may have written so in the head.
        indent = " " * (column + 2)
        return [indent + line if line else "" for line in written.body]

    def _with_lines(
        self, start: int, end: int, lines: list[str], must_end: bool
    ) -> str:
        """Return the document with lines in the place of the rest of one.

        :param must_end: whether the last of them needs a line break.
        """
        new = self.newline.join(lines)
        if must_end and end == len(self.text):
            new += self.newline
        return self.text[:start] + new + self.text[end:]

    def _column(self, node: Node) -> int:
        return node.start - line_start(self.text, node.start)
