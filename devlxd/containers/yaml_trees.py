# -*- test-case-name: tests.containers.test_document_parser -*-
"""Reading YAML documents."""

from __future__ import annotations

import yaml

from devlxd.containers.document_trees import (
    MAX_DOCUMENT,
    PIECES,
    TOO_DEEP,
    DocumentError,
    Tree,
)
from devlxd.turns import Slices

if not yaml.__with_libyaml__:
    # PyYAML's own parser is ten times as slow, and its slices are not short.
    raise ImportError(
        "devlxd needs a PyYAML with libyaml: Debian's python3-yaml, or one that was "
        "built when libyaml-dev was installed"
    )

#: What to write instead of frequent mistakes, by the words of libyaml.
_REMEDIES = {
    "could not find expected ':'": "; write KEY: VALUE, with a space after the colon",
    "did not find expected ',' or ']'": "; close the bracket",
    "did not find expected ',' or '}'": "; close the brace",
    "did not find expected '-' indicator": "; check the indentation",
    "did not find expected key": "; check the indentation and the quotes",
    "did not find expected node content": "; close the bracket or the brace",
    "found character that cannot start any token": (
        "; indent with spaces, and quote a value that begins with @, ` or %"
    ),
    "found undefined tag handle": "; quote a value that begins with !",
    "found unexpected end of stream": "; close the quotes",
    "found unknown escape character": "; write \\\\ for a backslash in double quotes",
    "mapping values are not allowed in this context": (
        "; check the indentation, and quote a value with a colon and a space in it"
    ),
}


def read_yaml(text: str, max_size: int = MAX_DOCUMENT) -> Slices[Tree]:
    """Return the tree of a YAML document, in slices.

    :param max_size: see `Tree`.
    :raises DocumentError: when ``text`` is not one YAML document.
    """
    try:
        return (yield from _read_events(text, max_size))
    except yaml.MarkedYAMLError as error:
        reason = error.problem or error.context or "not YAML"
        if "nesting depth" in reason:
            # With PyYAML 6.0.4 libyaml has a limit of its own, and as it parses
            # ahead it may reach that limit before `MAX_DEPTH` is checked.
            reason = TOO_DEEP
        reason += _REMEDIES.get(reason, "")
        raise DocumentError(reason, _line_of(error, text)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError(f"{error.reason}; remove them", line) from None


def _line_of(error: yaml.MarkedYAMLError, text: str) -> int | None:
    """Return the line of an error, counted from 1; ``None`` if unknown.

    What is not closed at the end of the text is at the line where it begins.
    """
    marks = (error.problem_mark, error.context_mark)
    lines = [mark.line for mark in marks if mark is not None]
    if not lines:
        return None
    last = text.rstrip().count("\n")
    return (lines[0] if lines[0] <= last else min(lines[-1], last)) + 1


def _read_events(text: str, max_size: int) -> Slices[Tree]:
    tree = Tree(max_size)
    for number, event in enumerate(yaml.parse(text, Loader=yaml.CBaseLoader), 1):
        assert event.start_mark is not None
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            tree.add_scalar(event.value, line, event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            tree.open(isinstance(event, yaml.MappingStartEvent), line, event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            tree.close()
        elif isinstance(event, yaml.AliasEvent):
            assert event.anchor is not None
            tree.add_alias(event.anchor, line)
        elif isinstance(event, yaml.DocumentStartEvent) and tree.root is not None:
            raise DocumentError("more than one document; remove the line ---", line)
        if number % PIECES == 0:
            yield
    if tree.root is None:
        raise DocumentError("the document is empty; write config: {} at least")
    return tree
