# -*- test-case-name: tests.containers.test_documents -*-
"""Text -> tree: YAML and JSON, read a few pieces at a time.

Both are read by their events: scalars arrive as they were written, depth is
bounded, and an alias refers to what is there already, so that a bomb is
weighed and not set off. Reading is a generator, which stops after a millisecond
or less: a large document is read while others have their turns. A thread would
not do: libyaml's bindings hold the interpreter's lock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NoReturn, TypeAlias

import yaml
from attrs import define, field

from devlxd.turns import Slices

if not yaml.__with_libyaml__:
    # Without it reading takes ten times as long, and slices are no longer short.
    raise ImportError(
        "devlxd needs a PyYAML with libyaml: Debian's python3-yaml, or one that was "
        "built when libyaml-dev was installed"
    )

#: How long a document may be, in bytes.
MAX_DOCUMENT = 16 * 1024 * 1024

#: How deep a document may nest; LXD's own records need seven levels.
MAX_DEPTH = 64

#: How many pieces of a document are read in one slice.
PIECES = 64

#: How much of a key or a path a message shows, in characters.
_MAX_SHOWN = 200


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


@define(eq=False)
class Branch:
    """A mapping or a sequence. A text is a plain `str`.

    :ivar is_mapping: false for a sequence.
    :ivar line: the line that it starts in.
    :ivar anchor: what it can be referred to by, if it can.
    :ivar entries: what a mapping holds. The items of a sequence count for
        nothing but their size.
    :ivar lines: the line of each key.
    :ivar size: how large it is, in nodes and characters, aliases counted as
        what they stand for.
    """

    is_mapping: bool
    line: int
    anchor: str | None = None
    entries: dict[str, Value] = field(factory=dict)
    lines: dict[str, int] = field(factory=dict)
    size: int = 1
    #: A key whose value is still to come.
    key: str | None = None


Value: TypeAlias = "str | Branch"


class Tree:
    """A document that is put together piece by piece.

    :ivar root: all of it; ``None`` while there is nothing.
    :ivar line: the line that it starts in.
    """

    def __init__(self) -> None:
        self.root: Value | None = None
        self.line = 0
        self._open: list[Branch] = []
        self._anchors: dict[str, Value] = {}

    @property
    def inmost(self) -> Branch | None:
        """The branch that the next piece is in; ``None`` outside of the root."""
        return self._open[-1] if self._open else None

    def text(self, text: str, line: int, anchor: str | None = None) -> None:
        """Add a text: an item, a key, or the value of the last key."""
        self._place(text, line)
        self._grow(1 + len(text))
        if anchor is not None:
            self._anchors[anchor] = text

    def open(self, is_mapping: bool, line: int, anchor: str | None = None) -> None:
        """Add a branch; what comes until it is closed is in it."""
        branch = Branch(is_mapping, line, anchor)
        self._place(branch, line)
        self._open.append(branch)

    def close(self) -> None:
        """Complete the inmost branch."""
        branch = self._open.pop()
        self._grow(branch.size)
        if branch.anchor is not None:
            self._anchors[branch.anchor] = branch

    def alias(self, anchor: str, line: int) -> None:
        """Add once more what is complete, and has an anchor."""
        value = self._anchors.get(anchor)
        if value is None:
            raise DocumentError("an alias of nothing", line)
        self._place(value, line)
        self._grow(1 + len(value) if isinstance(value, str) else value.size)

    def _place(self, value: Value, line: int) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise DocumentError("nested too deeply", line)
        if not self._open:
            self.root, self.line = value, line
            return
        branch = self._open[-1]
        if not branch.is_mapping:
            return
        if branch.key is not None:
            branch.entries[branch.key] = value
            branch.key = None
            return
        if not isinstance(value, str):
            raise DocumentError("a key that is not text", line)
        if value in branch.entries:
            raise DocumentError(f"{shown(value)} stands twice", line)
        branch.key = value
        branch.lines[value] = line

    def _grow(self, size: int) -> None:
        if self._open:
            self._open[-1].size += size
            if self._open[-1].size > MAX_DOCUMENT:
                raise DocumentError("its aliases make it too large")


def yaml_tree(text: str) -> Slices[Tree]:
    """Read a YAML document.

    :raises DocumentError: when it is none.
    """
    try:
        return (yield from _yaml_tree(text))
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


def _yaml_tree(text: str) -> Slices[Tree]:
    tree = Tree()
    for number, event in enumerate(yaml.parse(text, Loader=yaml.CBaseLoader), 1):
        assert event.start_mark is not None
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            tree.text(event.value, line, event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            tree.open(isinstance(event, yaml.MappingStartEvent), line, event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            tree.close()
        elif isinstance(event, yaml.AliasEvent):
            assert event.anchor is not None
            tree.alias(event.anchor, line)
        elif isinstance(event, yaml.DocumentStartEvent) and tree.root is not None:
            raise DocumentError("more than one document", line)
        if number % PIECES == 0:
            yield
    if tree.root is None:
        raise DocumentError("the document is empty")
    return tree


def json_tree(text: str) -> Slices[Tree]:
    """Read a JSON document.

    :raises DocumentError: when it is none.
    """
    try:
        return (yield from _JSONReader(text).tree())
    except json.JSONDecodeError as error:
        raise DocumentError(error.msg, error.lineno) from None


class _NotPlainError(Exception):
    """What is read has to be looked at piece by piece."""


def plain_json_tree(text: str) -> Tree | None:
    """Read a JSON document in one go, without its lines: a few times as fast.

    :return: ``None`` where there may be something to say of it.
    """
    # Few brackets cannot nest deeply, and without escapes all of it is text.
    if "\\u" in text or text.count("{") + text.count("[") >= MAX_DEPTH:
        return None
    tree = Tree()
    try:
        root = json.loads(
            text,
            object_pairs_hook=_plain_branch,
            parse_int=str,
            parse_float=str,
            parse_constant=str,
        )
    except (ValueError, _NotPlainError):
        return None
    tree.root = _plain_value(root)
    return tree


def _plain_branch(pairs: list[tuple[str, object]]) -> Branch:
    entries = {key: _plain_value(value) for key, value in pairs}
    if len(entries) != len(pairs):
        raise _NotPlainError
    return Branch(True, 0, entries=entries, lines=dict.fromkeys(entries, 0))


def _plain_value(value: object) -> Value:
    if isinstance(value, (str, Branch)):
        return value
    if isinstance(value, list):
        return Branch(is_mapping=False, line=0)
    return json.dumps(value)


_SPACE = re.compile(r"[ \t\n\r]*")


class _JSONReader:
    """Reads JSON (RFC 8259), each string and number by Python's own decoder.

    That one reads a document in one go, for seconds if it is large, and tells
    no lines but those of broken syntax.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._tree = Tree()
        # Numbers come out as they were written.
        decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
        self._decode: Callable[[str, int], tuple[object, int]] = decoder.raw_decode

    def tree(self) -> Slices[Tree]:
        """Read all of it."""
        is_new = self._piece()
        pieces = 1
        while self._tree.inmost is not None:
            is_new = self._next_piece(self._tree.inmost, is_new)
            pieces += 1
            if pieces % PIECES == 0:
                yield
        if self._next_character():
            self._fail("Extra data")
        return self._tree

    def _next_piece(self, branch: Branch, is_new: bool) -> bool:
        """Read what comes next in ``branch``.

        :param is_new: whether nothing of it has been read yet.
        :return: whether this has opened a branch.
        """
        character = self._next_character()
        if character == ("}" if branch.is_mapping else "]"):
            self._at += 1
            self._tree.close()
            return False
        if not is_new:
            self._take(",", "Expecting ',' delimiter")
        if branch.is_mapping:
            self._key()
        return self._piece()

    def _key(self) -> None:
        if self._next_character() != '"':
            self._fail("Expecting property name enclosed in double quotes")
        self._scalar()
        self._take(":", "Expecting ':' delimiter")

    def _piece(self) -> bool:
        """Read a scalar, or open a branch; return whether it was a branch."""
        character = self._next_character()
        if character not in ("{", "["):
            self._scalar()
            return False
        self._at += 1
        self._tree.open(character == "{", self._line)
        return True

    def _scalar(self) -> None:
        value, self._at = self._decode(self._text, self._at)
        # true, false and null come out as they were written, too
        text = value if isinstance(value, str) else json.dumps(value)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:  # half a \ud83d\ude00
            raise DocumentError(f"{shown(text)} is not text", self._line) from None
        self._tree.text(text, self._line)

    def _take(self, character: str, problem: str) -> None:
        if self._next_character() != character:
            self._fail(problem)
        self._at += 1

    def _next_character(self) -> str:
        """Skip white space, and return what follows; nothing at the end."""
        character = self._text[self._at : self._at + 1]
        if character > " ":
            return character
        space = _SPACE.match(self._text, self._at)
        assert space is not None
        self._line += self._text.count("\n", self._at, space.end())
        self._at = space.end()
        return self._text[self._at : self._at + 1]

    def _fail(self, problem: str) -> NoReturn:
        raise DocumentError(problem, self._line)
