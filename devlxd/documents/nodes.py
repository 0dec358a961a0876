# -*- test-case-name: tests.documents.test_nodes -*-
"""Nodes: the parts of a document's text, with the places where they are.

`devlxd.containers.document_trees` has what a document says. These trees have where
it says so: a change replaces some characters, and all others stay.
"""

from __future__ import annotations

import enum
import re
from typing import TypeAlias

from attrs import define, field

#: What ends a line in YAML 1.1; JSON has only the first three of them.
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

#: How an absent value is written without quotes.
_ABSENT = ("", "~", "null", "Null", "NULL")


class Kind(enum.Enum):
    """The kinds of nodes."""

    #: A text without quotes.
    PLAIN = "plain"
    #: A text in single quotes.
    SINGLE = "single"
    #: A text in double quotes.
    DOUBLE = "double"
    #: A text below ``|`` or ``>``.
    BLOCK = "block"
    #: A reference to another node.
    ALIAS = "alias"
    #: A mapping, one key on a line.
    BLOCK_MAPPING = "block mapping"
    #: A mapping in braces.
    FLOW_MAPPING = "flow mapping"
    #: A sequence of either style.
    SEQUENCE = "sequence"


_MAPPINGS = (Kind.BLOCK_MAPPING, Kind.FLOW_MAPPING)


@define(eq=False)
class Node:
    """A part of a document.

    :ivar kind: its kind.
    :ivar start: where it starts, in characters from the start of the document; its
        anchor and its tag are part of it.
    :ivar end: where it ends: after its last character that is not white space.
    :ivar text: the text of a scalar.
    :ivar target: what an alias refers to.
    :ivar entries: the keys and the values of a mapping.
    :ivar items: the items of a sequence.
    """

    kind: Kind
    start: int
    end: int
    text: str = ""
    target: Node | None = None
    entries: list[tuple[Node, Node]] = field(factory=list)
    items: list[Node] = field(factory=list)

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return self.kind in _MAPPINGS

    @property
    def is_empty(self) -> bool:
        """Whether it stands for a mapping without entries."""
        if self.kind is Kind.FLOW_MAPPING:
            return not self.entries
        return self.kind is Kind.PLAIN and self.text in _ABSENT

    def entry(self, name: str) -> tuple[Node, Node] | None:
        """Return the key and the value of an entry; ``None`` if there is none."""
        for key, value in self.entries:
            if key.text == name:
                return key, value
        return None


#: What a document says, without the places.
Outline: TypeAlias = "str | list[Outline] | dict[str, Outline]"


def outline(node: Node) -> Outline:
    """Return what a node says: mappings, lists and texts."""
    if node.target is not None:
        return outline(node.target)
    if node.is_mapping:
        return {key.text: outline(value) for key, value in node.entries}
    if node.kind is Kind.SEQUENCE:
        return [outline(item) for item in node.items]
    return node.text


def line_start(text: str, position: int) -> int:
    """Return where the line of a position starts."""
    start = text.rfind("\n", 0, position) + 1
    for match in LINE_BREAK.finditer(text, start, position):
        start = match.end()
    return start


def line_end(text: str, position: int) -> int:
    """Return where the line of a position ends, before its line break."""
    match = LINE_BREAK.search(text, position)
    return len(text) if match is None else match.start()
