# -*- test-case-name: tests.documents.test_scalars -*-
"""Writing texts in documents, so that every reader of YAML reads the same text."""

from __future__ import annotations

import io
import json
import re
import sys

import yaml
from attrs import frozen
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.scalarstring import (
    DoubleQuotedScalarString,
    LiteralScalarString,
    SingleQuotedScalarString,
)

from devlxd.documents.nodes import Kind

#: What YAML 1.1 says is true and false, but PyYAML reads as text.
_SHORT_BOOLEANS = frozenset("yYnN")

#: What ends a line in YAML 1.1, and does not in YAML 1.2.
_OLD_BREAKS = re.compile("[\x85\u2028\u2029]")

#: What needs no quotes in braces. Some readers take more, such as ``a?``, others do
#: not.
_PLAIN_IN_BRACES = re.compile(r"[\w./ -]*", re.ASCII)

#: Finds what YAML 1.1 reads as something other than text. ruamel.yaml, which writes
#: YAML 1.2, does so for that version.
_YAML_1_1 = yaml.resolver.Resolver()

_QUOTED = {
    Kind.SINGLE: SingleQuotedScalarString,
    Kind.DOUBLE: DoubleQuotedScalarString,
}


@frozen
class WrittenScalar:
    """A text as it is written in a document.

    :ivar head: what stands in the line of its key.
    :ivar body: the lines below, without their common indentation.
    """

    head: str
    body: tuple[str, ...] = ()


def write_yaml(value: str, old: Kind = Kind.PLAIN) -> WrittenScalar:
    """Write a text as the value of a key that has a line of its own.

    Several lines are written below ``|``.

    :param old: how the value before was written: its quotes are used again.
    """
    for candidate in _candidates(value, old):
        head, _, body = _dump({"k": candidate}).partition("\n")
        lines = body.removesuffix("\n").split("\n") if body else []
        written = WrittenScalar(
            head.removeprefix("k: "), tuple(line[2:] for line in lines)
        )
        if _reads_as(f"{head}\n{body}", value):
            return written
    raise AssertionError("any text can be written in double quotes")


def write_yaml_flow(value: str, old: Kind = Kind.PLAIN) -> str:
    """Write a text as a key, or as a value in braces: in one line."""
    for candidate in _candidates(value, old):
        if isinstance(candidate, LiteralScalarString):
            continue
        if type(candidate) is str and not _PLAIN_IN_BRACES.fullmatch(candidate):
            continue
        sequence = CommentedSeq([candidate])
        sequence.fa.set_flow_style()
        # Without the brackets.
        text = _dump(sequence).removesuffix("\n")[1:-1]
        if "\n" not in text and _reads_as(f"{{k: {text}}}", value):
            return text
    raise AssertionError("any text can be written in double quotes")


def write_json(value: str) -> str:
    """Write a text in a JSON document."""
    return json.dumps(value, ensure_ascii=False)


def _candidates(value: str, old: Kind) -> list[str]:
    """Return the styles to try, one after the other."""
    candidates: list[str] = []
    if _OLD_BREAKS.search(value):
        return [DoubleQuotedScalarString(value)]
    # More than one line break at the end would depend on the empty lines that follow.
    if "\n" in value.strip("\n") and not value.endswith("\n\n"):
        candidates.append(LiteralScalarString(value))
    if old in _QUOTED and "\n" not in value:
        candidates.append(_QUOTED[old](value))
    if _is_plain(value):
        candidates.append(value)
    return [*candidates, DoubleQuotedScalarString(value)]


def _is_plain(value: str) -> bool:
    """Return whether a text without quotes is text in YAML 1.1."""
    tag = _YAML_1_1.resolve(yaml.ScalarNode, value, (True, False))
    is_text = tag == _YAML_1_1.DEFAULT_SCALAR_TAG
    return is_text and value not in _SHORT_BOOLEANS


def _dump(value: object) -> str:
    writer = YAML()
    # Long lines stay whole.
    writer.width = sys.maxsize
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("...\n")


def _reads_as(text: str, value: str) -> bool:
    """Return whether libyaml reads the value of the key ``k`` as ``value``."""
    try:
        read = yaml.load(text, Loader=yaml.CBaseLoader)
    except yaml.YAMLError:
        return False
    return bool(read == {"k": value})
