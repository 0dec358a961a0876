# -*- test-case-name: tests.containers.test_document_parser -*-
"""Reading JSON documents (RFC 8259)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NoReturn

from devlxd.containers.document_trees import (
    MAX_DEPTH,
    MAX_DOCUMENT,
    PIECES,
    Branch,
    DocumentError,
    Tree,
    Value,
)
from devlxd.turns import Slices

#: What to write instead of frequent mistakes, by the words of Python's decoder.
_REMEDIES = {
    "Expecting value": '; write "TEXT", a number, true, false, null, {...} or [...]',
    "Expecting property name enclosed in double quotes": (
        '; write "KEY": VALUE, and no comma after the last one'
    ),
    "Extra data": "; remove what follows the end of the document",
    "Unterminated string starting at": "; close the quotes",
}

_SPACE = re.compile(r"[ \t\n\r]*")


def read_json(text: str, max_size: int = MAX_DOCUMENT) -> Slices[Tree]:
    """Return the tree of a JSON document, in slices.

    :param max_size: see `Tree`.
    :raises DocumentError: when ``text`` is not a JSON document.
    """
    try:
        return (yield from _JSONReader(text, max_size).read())
    except json.JSONDecodeError as error:
        reason = error.msg + _REMEDIES.get(error.msg, "")
        raise DocumentError(reason, error.lineno) from None


class _NotSimpleError(Exception):
    """Raised for a document that needs `read_json`."""


def read_simple_json(text: str) -> Tree | None:
    """Return the tree of a JSON document, with 0 for all lines.

    Several times as fast as `read_json`, but in one slice.

    :return: ``None`` if ``text`` is invalid, or needs the checks of `read_json`.
    """
    # Without many brackets it cannot be nested deeply, and without escapes it
    # cannot contain a lone surrogate.
    if "\\u" in text or text.count("{") + text.count("[") >= MAX_DEPTH:
        return None
    tree = Tree()
    try:
        root = json.loads(
            text,
            object_pairs_hook=_simple_branch,
            parse_int=str,
            parse_float=str,
            parse_constant=str,
        )
    except (ValueError, _NotSimpleError):
        return None
    tree.root = _simple_value(root)
    return tree


def _simple_branch(pairs: list[tuple[str, object]]) -> Branch:
    entries = {key: _simple_value(value) for key, value in pairs}
    if len(entries) != len(pairs):
        raise _NotSimpleError
    return Branch(True, 0, entries=entries, lines=dict.fromkeys(entries, 0))


def _simple_value(value: object) -> Value:
    if isinstance(value, (str, Branch)):
        return value
    if isinstance(value, list):
        return Branch(is_mapping=False, line=0)
    return json.dumps(value)


class _JSONReader:
    """A reader of JSON, which decodes each string and number with Python's decoder.

    Python's decoder alone reads a document in one slice, which takes seconds if it
    is large, and it reports the lines of syntax errors only.
    """

    def __init__(self, text: str, max_size: int) -> None:
        self._text = text
        self._position = 0
        self._line = 1
        self._tree = Tree(max_size)
        # Numbers stay as they were written.
        decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
        self._decode: Callable[[str, int], tuple[object, int]] = decoder.raw_decode

    def read(self) -> Slices[Tree]:
        """Read the whole text."""
        is_new = self._read_value()
        pieces = 1
        while self._tree.innermost is not None:
            is_new = self._read_next_piece(self._tree.innermost, is_new)
            pieces += 1
            if pieces % PIECES == 0:
                yield
        if self._next_character():
            self._fail("Extra data")
        return self._tree

    def _read_next_piece(self, branch: Branch, is_new: bool) -> bool:
        """Read an item or an entry of ``branch``, or its end.

        :param is_new: whether nothing of ``branch`` has been read yet.
        :return: whether a branch was opened.
        """
        character = self._next_character()
        if character == ("}" if branch.is_mapping else "]"):
            self._position += 1
            self._tree.close()
            return False
        if not is_new:
            self._expect(",", "Expecting ',' delimiter")
        if branch.is_mapping:
            self._read_key()
        return self._read_value()

    def _read_key(self) -> None:
        if self._next_character() != '"':
            self._fail("Expecting property name enclosed in double quotes")
        self._read_scalar()
        self._expect(":", "Expecting ':' delimiter")

    def _read_value(self) -> bool:
        """Read a scalar, or open a branch; return whether a branch was opened."""
        character = self._next_character()
        if character not in ("{", "["):
            self._read_scalar()
            return False
        self._position += 1
        self._tree.open(character == "{", self._line)
        return True

    def _read_scalar(self) -> None:
        value, self._position = self._decode(self._text, self._position)
        # A value that is not text is true, false or null.
        text = value if isinstance(value, str) else json.dumps(value)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:  # a lone surrogate: \ud83d
            raise DocumentError(
                "a lone surrogate is not text; write both of the pair", self._line
            ) from None
        self._tree.add_scalar(text, self._line)

    def _expect(self, character: str, problem: str) -> None:
        if self._next_character() != character:
            self._fail(problem)
        self._position += 1

    def _next_character(self) -> str:
        """Skip white space and return the next character; empty at the end."""
        character = self._text[self._position : self._position + 1]
        if character > " ":
            return character
        space = _SPACE.match(self._text, self._position)
        assert space is not None
        self._line += self._text.count("\n", self._position, space.end())
        self._position = space.end()
        return self._text[self._position : self._position + 1]

    def _fail(self, problem: str) -> NoReturn:
        raise DocumentError(problem + _REMEDIES.get(problem, ""), self._line)
