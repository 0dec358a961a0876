# -*- test-case-name: tests.containers.test_document_parser -*-
"""Trees: the content of YAML and JSON documents.

The readers of both formats build a tree from a stream of small pieces:

* Every scalar stays as it was written.
* The depth of the tree is bounded.
* Aliases are harmless: an alias refers to a complete part of the tree, and counts
  with the size of that part. A YAML bomb is rejected before it is expanded.

Reading is a generator that yields at least every millisecond, so that the reactor
does other work while a large document is read. A thread would not help: the
bindings of libyaml hold Python's global interpreter lock.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import define, field

from devlxd.model import Limits
from devlxd.printable_text import printable

#: The maximum length of a document, in bytes, unless the operator sets another one.
MAX_DOCUMENT = Limits().document_bytes

#: The maximum depth of a document. LXD's ``backup.yaml`` needs seven levels.
MAX_DEPTH = 64

#: The reason for which a deeper document is rejected.
TOO_DEEP = f"nested too deeply; use at most {MAX_DEPTH} levels"

#: The number of pieces of a document that are read in one slice.
PIECES = 64


def too_long(max_size: int) -> str:
    """Return the reason for which a document of more than ``max_size`` bytes fails."""
    return f"longer than {max_size} bytes; shorten its values"


class DocumentError(Exception):
    """A document is rejected.

    :ivar reason: the problem, in words.
    :ivar line: the line of the problem, counted from 1; ``None`` if unknown.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason, line)
        self.reason = reason
        self.line = line


@define(eq=False)
class Branch:
    """A mapping or a sequence in a document. A scalar is a plain `str`.

    :ivar is_mapping: ``False`` for a sequence.
    :ivar line: the line where it starts.
    :ivar anchor: the name by which aliases refer to it, if it has one.
    :ivar entries: the entries of a mapping. The items of a sequence are not
        kept, only their size is counted.
    :ivar lines: the line of each key.
    :ivar size: its size in nodes and characters, with each alias counted as
        the part that it refers to.
    :ivar pending_key: a key whose value has not been read yet.
    """

    is_mapping: bool
    line: int
    anchor: str | None = None
    entries: dict[str, Value] = field(factory=dict)
    lines: dict[str, int] = field(factory=dict)
    size: int = 1
    pending_key: str | None = None


Value: TypeAlias = "str | Branch"


class Tree:
    """A document, built piece by piece.

    Each method raises `DocumentError` when the document exceeds a limit, or the
    piece is invalid.

    :ivar root: the whole document; ``None`` while it is empty.
    :ivar line: the line where the root starts.
    :param max_size: how large it may be when its aliases are expanded.
    """

    def __init__(self, max_size: int = MAX_DOCUMENT) -> None:
        self._max_size = max_size
        self.root: Value | None = None
        self.line = 0
        self._open: list[Branch] = []
        self._anchors: dict[str, Value] = {}

    @property
    def innermost(self) -> Branch | None:
        """The branch that the next piece is added to; ``None`` outside the root."""
        return self._open[-1] if self._open else None

    def add_scalar(self, text: str, line: int, anchor: str | None = None) -> None:
        """Add a scalar: an item, a key, the value of the pending key, or the root."""
        self._add(text, line)
        self._grow(1 + len(text))
        if anchor is not None:
            self._anchors[anchor] = text

    def open(self, is_mapping: bool, line: int, anchor: str | None = None) -> None:
        """Add a branch. The next pieces are added to it until it is closed."""
        branch = Branch(is_mapping, line, anchor)
        self._add(branch, line)
        self._open.append(branch)

    def close(self) -> None:
        """Complete the innermost branch."""
        branch = self._open.pop()
        self._grow(branch.size)
        if branch.anchor is not None:
            self._anchors[branch.anchor] = branch

    def add_alias(self, anchor: str, line: int) -> None:
        """Add another reference to a complete part of the tree."""
        value = self._anchors.get(anchor)
        if value is None:
            raise DocumentError(
                "an alias without an anchor before it; write &NAME before *NAME", line
            )
        self._add(value, line)
        self._grow(1 + len(value) if isinstance(value, str) else value.size)

    def _add(self, value: Value, line: int) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise DocumentError(TOO_DEEP, line)
        if not self._open:
            self.root, self.line = value, line
        elif self._open[-1].is_mapping:
            self._add_to_mapping(self._open[-1], value, line)

    def _add_to_mapping(self, branch: Branch, value: Value, line: int) -> None:
        if branch.pending_key is not None:
            branch.entries[branch.pending_key] = value
            branch.pending_key = None
            return
        if not isinstance(value, str):
            raise DocumentError("a key that is not text; write KEY: VALUE", line)
        if value in branch.entries:
            reason = (
                f"duplicate key {printable(value)}, as on line {branch.lines[value]}; "
                "keep one of them"
            )
            raise DocumentError(reason, line)
        branch.pending_key = value
        branch.lines[value] = line

    def _grow(self, size: int) -> None:
        if self._open:
            self._open[-1].size += size
            if self._open[-1].size > self._max_size:
                raise DocumentError(
                    "too large when its aliases are expanded; use fewer aliases"
                )
