# -*- test-case-name: tests.guestapi.test_yaml_mappings -*-
"""YAML texts that are mappings: where their entries are, and how to change these.

A text is never written anew: an entry is inserted, replaced or removed between the
characters of the others, which stay as they are, with their comments.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping

import yaml
from attrs import frozen

from devlxd.guestapi.yaml_keys import block_key_start, flow_key_start
from devlxd.guestapi.yaml_nodes import (
    EVENTS,
    MAX_DEPTH,
    MERGE,
    STRING,
    Node,
    Nodes,
    NotMergeableError,
    tag_of,
)
from devlxd.turns import Slices

#: The maximum length of a text, in characters.
MAX_TEXT = 4 * 1024 * 1024

#: The maximum number of entries.
MAX_ENTRIES = 4096

#: The maximum length of a key that is constructed if it is not a string, such as a
#: number, in characters.
_MAX_KEY = 100

#: What PyYAML raises for a scalar that it cannot construct, such as ``!!bool maybe``.
_KEY_ERRORS = (
    yaml.YAMLError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)

#: The key ``<<`` in an `Entry`; it differs from every string.
MERGE_KEY: Hashable = (MERGE,)


@frozen
class Entry:
    """An entry of a mapping in a text.

    :ivar key: the key as PyYAML reads it; keys that are equal are duplicates.
    :ivar start: where the key begins, with its ``?`` if it has one.
    :ivar end: where the next key begins, or the mapping ends.
    :ivar is_referenced: whether aliases of other entries refer to it.
    """

    key: Hashable
    start: int
    end: int
    is_referenced: bool


@frozen
class MappingText:
    """A text that is one YAML document: a mapping, or null.

    :ivar text: the text, without a byte order mark.
    :ivar is_null: whether it is null: ``---``, ``~``.
    :ivar is_flow: whether it has braces: ``{a: b}``.
    :ivar is_marked: whether anything but comments is before the first key: ``---``, a
        directive, a tag or an anchor.
    :ivar position: where the first key begins, or is to be inserted.
    :ivar column: the column of the position.
    :ivar entries: its entries, in their order.
    :ivar included: the keys of the mappings that it includes with ``<<``.
    :ivar nodes: the values of the entries that were asked for, by their keys; for a
        key that occurs more than once, the last value.
    """

    text: str
    is_null: bool
    is_flow: bool
    is_marked: bool
    position: int
    column: int
    entries: tuple[Entry, ...]
    included: frozenset[Hashable]
    nodes: Mapping[Hashable, Node]

    def has(self, key: Hashable) -> bool:
        """Return whether a reader of the text finds the key."""
        return key in self.included or any(entry.key == key for entry in self.entries)


def read_mapping(text: str, wanted: Collection[str] = ()) -> Slices[MappingText | None]:
    """Read a text, in slices.

    :param wanted: the keys whose values are returned as nodes.
    :return: ``None`` when the text has only comments.
    :raises NotMergeableError: when it is not YAML, or more than one document, or not
        a mapping, or too large.
    """
    if len(text) > MAX_TEXT:
        raise NotMergeableError(f"more than {MAX_TEXT} characters")
    reader = _Reader(text.removeprefix("\ufeff"), wanted)
    try:
        for number, event in enumerate(
            yaml.parse(reader.text, Loader=yaml.CBaseLoader), 1
        ):
            reader.add(event)
            if number % EVENTS == 0:
                yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise NotMergeableError(
            f"not YAML: {error.problem or error.context}{where}"
        ) from None
    except (yaml.YAMLError, UnicodeError):
        raise NotMergeableError("not YAML: a character that is not allowed") from None
    return reader.result()


class _Reader:
    """Finds the entries of a mapping in the events of its text."""

    def __init__(self, text: str, wanted: Collection[str]) -> None:
        self.text = text
        self._wanted = wanted
        self._nodes = Nodes()
        self._depth = 0
        self._documents: list[yaml.DocumentStartEvent] = []
        self._root: yaml.NodeEvent | None = None
        self._position = self._column = 0
        self._is_flow = False
        self._end = 0
        # The key and the start of each entry; the key of the open one, if any.
        self._entries: list[tuple[Hashable, int]] = []
        self._has_open_key = False
        self._values: dict[Hashable, Node] = {}
        self._included: set[Hashable] = set()
        # The entry that each anchor is in; the entries that others refer to.
        self._anchors: dict[str, int] = {}
        self._referenced: set[int] = set()
        self._constructor = yaml.constructor.SafeConstructor()

    def add(self, event: yaml.Event) -> None:
        """Add the next event."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents.append(event)
            if len(self._documents) > 1:
                raise NotMergeableError("more than one document")
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(event)
        elif isinstance(event, yaml.NodeEvent):
            self._open(event)

    def _open(self, event: yaml.NodeEvent) -> None:
        if self._root is None:
            self._begin(event)
            return
        begins_key = self._depth == 1 and not self._has_open_key
        if begins_key:
            self._add_key(event)
        if event.anchor is not None:
            self._note_reference(event, event.anchor)
        node = self._nodes.add(event, not begins_key and self._is_wanted())
        if isinstance(event, yaml.CollectionStartEvent):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise NotMergeableError("nested too deeply")
        else:
            self._end_node(node)

    def _begin(self, event: yaml.NodeEvent) -> None:
        self._root = event
        assert event.end_mark is not None
        self._position, self._column = event.end_mark.index, event.end_mark.column
        if isinstance(event, yaml.MappingStartEvent):
            self._depth = 1
            self._is_flow = bool(event.flow_style)
        elif not (
            isinstance(event, yaml.ScalarEvent)
            and tag_of(event) == "tag:yaml.org,2002:null"
        ):
            raise NotMergeableError("not a mapping")

    def _note_reference(self, event: yaml.NodeEvent, anchor: str) -> None:
        current = len(self._entries) - 1
        if not isinstance(event, yaml.AliasEvent):
            self._anchors[anchor] = current
        elif self._anchors.get(anchor, current) != current:
            self._referenced.add(self._anchors[anchor])

    def _add_key(self, event: yaml.NodeEvent) -> None:
        assert event.start_mark is not None
        start = event.start_mark.index
        if self._is_flow:
            start = flow_key_start(self.text, start)
        elif event.start_mark.column != self._column:
            start = block_key_start(self.text, start, self._column)
        self._entries.append((self._key_of(event), start))
        if len(self._entries) > MAX_ENTRIES:
            raise NotMergeableError(f"more than {MAX_ENTRIES} keys")

    def _is_wanted(self) -> bool:
        if self._depth != 1:
            return False
        key = self._entries[-1][0]
        return key == MERGE_KEY or key in self._wanted

    def _close(self, event: yaml.Event) -> None:
        node = self._nodes.add(event, False) if self._depth > 1 else None
        self._depth -= 1
        if self._depth:
            self._end_node(node)
        else:
            assert event.start_mark is not None
            self._end = event.start_mark.index

    def _end_node(self, node: Node | None) -> None:
        """Note that a key or a value is complete."""
        if self._depth != 1:
            return
        if self._has_open_key and node is not None and self._is_wanted():
            key = self._entries[-1][0]
            self._values[key] = node
            if key == MERGE_KEY:
                self._included.update(map(self._node_key, _included_keys(node)))
        self._has_open_key = not self._has_open_key

    def _node_key(self, node: Node) -> Hashable:
        return self._key_of(node.event)

    def _key_of(self, event: yaml.NodeEvent) -> Hashable:
        """Return a value that is equal for keys that PyYAML reads as equal.

        For a key that cannot be hashed or constructed it is unlike all others.
        """
        if not isinstance(event, yaml.ScalarEvent):
            return object()
        tag = tag_of(event)
        if tag == STRING:
            return event.value
        if tag == MERGE:
            return MERGE_KEY
        try:
            if len(event.value) > _MAX_KEY:
                return (tag, event.value)
            scalar = yaml.ScalarNode(tag, event.value)
            key: Hashable = self._constructor.construct_object(scalar)
            hash(key)
        except _KEY_ERRORS:
            return object()
        return key

    def result(self) -> MappingText | None:
        """Return the text, after its last event."""
        root = self._root
        if root is None:
            return None
        return MappingText(
            text=self.text,
            is_null=not isinstance(root, yaml.MappingStartEvent),
            is_flow=self._is_flow,
            is_marked=self._is_marked(root),
            position=self._position,
            column=self._column,
            entries=tuple(self._finished_entries())[::-1],
            included=frozenset(self._included),
            nodes=self._values,
        )

    def _is_marked(self, root: yaml.NodeEvent) -> bool:
        is_plain = root.anchor is None and getattr(root, "tag", None) is None
        return bool(self._documents[0].explicit) or not is_plain

    def _finished_entries(self) -> Iterator[Entry]:
        end = self._end
        for number in reversed(range(len(self._entries))):
            key, start = self._entries[number]
            yield Entry(key, start, end, number in self._referenced)
            end = start


def _included_keys(node: Node) -> list[Node]:
    """Return the keys of the value of ``<<``: a mapping, or a sequence of them."""
    mappings = node.children if node.is_sequence else (node,)
    return [key for one in mappings if one.is_mapping for key, _ in one.pairs()]
