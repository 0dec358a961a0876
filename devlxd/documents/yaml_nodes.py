# -*- test-case-name: tests.documents.test_nodes -*-
"""Reading the nodes of a YAML document.

libyaml tells where each node is, and it is what devlxd reads documents with, so that
both understand a document in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from devlxd.documents.nodes import Kind, Node

_SCALARS = {
    "'": Kind.SINGLE,
    '"': Kind.DOUBLE,
    "|": Kind.BLOCK,
    ">": Kind.BLOCK,
}


def read_yaml_nodes(text: str) -> Node:
    """Return the root of a YAML document.

    :param text: a document, which does not begin with a byte order mark.
    :raises ValueError: if it has an alias without an anchor, or is empty.
    :raises yaml.YAMLError: if it is not YAML.
    """
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._events: Iterator[yaml.Event] = iter(
            yaml.parse(text, Loader=yaml.CBaseLoader)
        )
        self._anchors: dict[str, Node] = {}

    def read(self) -> Node:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                root = self._node(next(self._events))
                # The parser reads on, and may find a mistake.
                for _ in self._events:
                    pass
                return root
        raise ValueError("the document is empty")

    def _node(self, event: yaml.Event) -> Node:
        """Return the node that begins with ``event``."""
        if isinstance(event, yaml.AliasEvent):
            start, end = _place(event)
            if event.anchor not in self._anchors:
                raise ValueError("an alias without an anchor before it")
            return Node(Kind.ALIAS, start, end, target=self._anchors[event.anchor])
        assert isinstance(event, yaml.NodeEvent)
        node = self._anchored(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _anchored(self, event: yaml.NodeEvent) -> Node:
        start, end = _place(event)
        if isinstance(event, yaml.ScalarEvent):
            kind = _SCALARS.get(event.style or "", Kind.PLAIN)
            if kind is Kind.BLOCK:
                end = _block_end(self._text, start, end, event.value)
            return Node(kind, start, end, event.value)
        if isinstance(event, yaml.MappingStartEvent):
            kind = Kind.FLOW_MAPPING if event.flow_style else Kind.BLOCK_MAPPING
            return self._mapping(Node(kind, start, start))
        node = Node(Kind.SEQUENCE, start, start)
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            node.items.append(self._node(item))
        return _ended(node, item, node.items)

    def _mapping(self, node: Node) -> Node:
        children = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, value = self._node(event), self._node(next(self._events))
            node.entries.append((key, value))
            children += [key, value]
        return _ended(node, event, children)


def _place(event: yaml.Event) -> tuple[int, int]:
    """Return where an event starts and ends, in characters."""
    assert event.start_mark is not None
    assert event.end_mark is not None
    return event.start_mark.index, event.end_mark.index


def _ended(node: Node, event: yaml.Event, children: list[Node]) -> Node:
    """Return a collection with its end.

    The event of the end of a block collection is at the start of what follows it,
    behind comments and empty lines.
    """
    start, end = _place(event)
    is_flow = end > start
    node.end = end if is_flow else max((c.end for c in children), default=node.start)
    return node


def _block_end(text: str, start: int, end: int, value: str) -> int:
    """Return where a text below ``|`` or ``>`` ends.

    libyaml counts the empty lines after it as parts of it, although they are no part
    of its value, except for those below ``|+``.
    """
    raw = text[start:end]
    header, _, body = raw.partition("\n")
    if "+" in header.partition("#")[0]:
        return end - len(raw) + len(raw.removesuffix("\n").removesuffix("\r"))
    if not body.strip():
        return start + len(header.rstrip())
    space = "\r\n" if value.rstrip("\n")[-1:].isspace() else None
    return start + len(raw.rstrip(space))
