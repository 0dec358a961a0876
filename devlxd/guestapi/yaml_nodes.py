# -*- test-case-name: tests.guestapi.test_yaml_mappings -*-
"""Parts of a YAML text as nodes, every scalar as it was written.

`Nodes` receives the events of a text, and keeps only the parts that are wanted, and
those with anchors. An alias becomes the node that it refers to, so that a part can
be written to another place. Its size counts with every alias: a YAML bomb is rejected
before it is expanded.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import yaml
from attrs import field, frozen

from devlxd.turns import Slices

#: The maximum size of the nodes that are kept of a text, aliases expanded.
MAX_NODES = 20_000

#: The maximum depth of a text, and of a node with its aliases expanded.
MAX_DEPTH = 64

#: The number of events that are read or written in one slice.
EVENTS = 64

STRING = "tag:yaml.org,2002:str"

#: The tag of the key by which a mapping includes others: ``<<``.
MERGE = "tag:yaml.org,2002:merge"

_RESOLVER = yaml.resolver.Resolver()


class NotMergeableError(Exception):
    """A text cannot be merged with other values.

    :ivar reason: the problem, in words; it contains no part of the text.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@frozen(eq=False)
class Node:
    """A scalar, a sequence or a mapping.

    :ivar event: the event of the scalar, or of the start of the collection.
    :ivar children: the items of a sequence; the keys and values of a mapping, in turn.
    :ivar size: the number of nodes in it, itself included.
    :ivar depth: the number of levels, itself included.
    """

    event: yaml.NodeEvent
    children: tuple[Node, ...] = ()
    size: int = field(init=False)
    depth: int = field(init=False)

    @size.default
    def _default_size(self) -> int:
        return 1 + sum(child.size for child in self.children)

    @depth.default
    def _default_depth(self) -> int:
        return 1 + max((child.depth for child in self.children), default=0)

    @property
    def is_sequence(self) -> bool:
        """Whether it is a sequence."""
        return isinstance(self.event, yaml.SequenceStartEvent)

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self.event, yaml.MappingStartEvent)

    @property
    def text(self) -> str | None:
        """The value of a scalar that is a string; ``None`` for every other node."""
        if isinstance(self.event, yaml.ScalarEvent) and tag_of(self.event) == STRING:
            return self.event.value
        return None

    @property
    def is_merge(self) -> bool:
        """Whether it is the key ``<<``."""
        return isinstance(self.event, yaml.ScalarEvent) and tag_of(self.event) == MERGE

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """Yield the keys and values of a mapping."""
        return zip(self.children[::2], self.children[1::2], strict=True)


def tag_of(event: yaml.ScalarEvent) -> str:
    """Return the tag of a scalar, also one that is not written, as PyYAML does."""
    if event.tag is not None and event.tag != "!":
        return event.tag
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
    return tag


def string(value: str, style: str | None = None) -> Node:
    """Return a new scalar.

    :param style: the quotes; ``None`` for none.
    """
    return Node(yaml.ScalarEvent(None, None, (style is None, True), value, style=style))


def sequence(items: list[Node]) -> Node:
    """Return a new sequence, in block style."""
    return _checked(
        Node(yaml.SequenceStartEvent(None, None, True, flow_style=False), tuple(items))
    )


def mapping(pairs: list[tuple[Node, Node]], is_flow: bool = False) -> Node:
    """Return a new mapping.

    :param is_flow: whether to write it, and all that it contains, with braces.
    """
    flat = tuple(node for pair in pairs for node in pair)
    return _checked(
        Node(yaml.MappingStartEvent(None, None, True, flow_style=is_flow), flat)
    )


def _checked(node: Node) -> Node:
    if node.size > MAX_NODES or node.depth > MAX_DEPTH:
        raise NotMergeableError("too large when its aliases are expanded")
    return node


class Nodes:
    """Keeps the nodes that are wanted of a text, and those with anchors."""

    def __init__(self) -> None:
        self._anchors: dict[str, Node] = {}
        self._open: list[tuple[yaml.NodeEvent, list[Node]]] = []
        self._kept = 0

    def add(self, event: yaml.Event, wanted: bool) -> Node | None:
        """Add the next event of the text.

        :param wanted: whether to keep the node that begins with the event.
        :return: the node that ends with the event, if it is kept.
        :raises NotMergeableError: when more nodes are kept than allowed.
        """
        if isinstance(event, yaml.CollectionEndEvent):
            return self._close() if self._open else None
        assert isinstance(event, yaml.NodeEvent)
        is_alias = isinstance(event, yaml.AliasEvent)
        if not (wanted or self._open or (event.anchor and not is_alias)):
            return None
        self._kept += 1
        if self._kept > MAX_NODES:
            raise NotMergeableError("too many values")
        if isinstance(event, yaml.CollectionStartEvent):
            self._open.append((event, []))
            return None
        return self._keep(self._target(event) if is_alias else Node(event))

    def _target(self, alias: yaml.NodeEvent) -> Node:
        target = self._anchors.get(alias.anchor or "")
        if target is None:
            raise NotMergeableError("an alias without an anchor before it")
        return target

    def _close(self) -> Node:
        event, children = self._open.pop()
        return self._keep(_checked(Node(event, tuple(children))))

    def _keep(self, node: Node) -> Node:
        if self._open:
            self._open[-1][1].append(node)
        if node.event.anchor is not None:
            self._anchors[node.event.anchor] = node
        return node


def write(node: Node) -> Slices[str]:
    """Return a node as YAML text that ends in a newline, in slices.

    It has no anchors or aliases. Long lines are not folded.
    """
    stream = StringIO()
    dumper = yaml.CBaseDumper(stream, width=-1, allow_unicode=True)
    dumper.emit(yaml.StreamStartEvent())
    dumper.emit(yaml.DocumentStartEvent(explicit=False))
    for number, event in enumerate(_events_of(node), 1):
        dumper.emit(event)
        if number % EVENTS == 0:
            yield
    dumper.emit(yaml.DocumentEndEvent(explicit=False))
    dumper.emit(yaml.StreamEndEvent())
    return stream.getvalue()


def _style_of(scalar: yaml.ScalarEvent) -> str | None:
    """Return the style in which to write a scalar: its own, or double quotes.

    libyaml does not always read folded text as it has written it. After literal text
    with empty lines at its end it may write ``...``, which ends the document.
    """
    has_empty_end = scalar.value.endswith("\n\n") or scalar.value == "\n"
    if scalar.style == ">" or (scalar.style == "|" and has_empty_end):
        return '"'
    return scalar.style


def _events_of(node: Node) -> Iterator[yaml.Event]:
    """Yield the events of a node, without anchors."""
    event = node.event
    if isinstance(event, yaml.ScalarEvent):
        yield yaml.ScalarEvent(
            None, event.tag, event.implicit, event.value, style=_style_of(event)
        )
        return
    assert isinstance(event, yaml.CollectionStartEvent)
    is_mapping = isinstance(event, yaml.MappingStartEvent)
    start = yaml.MappingStartEvent if is_mapping else yaml.SequenceStartEvent
    yield start(None, event.tag, event.implicit, flow_style=event.flow_style)
    for child in node.children:
        yield from _events_of(child)
    yield yaml.MappingEndEvent() if is_mapping else yaml.SequenceEndEvent()
