"""Bytes of documents: a container, or an error that names a line."""

from __future__ import annotations

import json

import yaml
from hypothesis import strategies as st

from devlxd.containers.document_parser import (
    MAX_SIMPLE_JSON,
    Format,
    ParsedDocument,
    parse_document,
)
from devlxd.containers.document_trees import DocumentError
from devlxd.model import Container
from tests.fuzz.mutations import mostly, mutated
from tests.fuzz.target import Target

#: The errors that are not in any line.
WITHOUT_LINE = (
    "longer than",
    "too large when",
    "there is no container",
    "the document",
)

#: How many slices a document may take at most, of which each takes about a
#: millisecond: a number, and one more for so many bytes.
SLICES, BYTES_IN_SLICE = 50, 10

#: What has a meaning in a document.
TOKENS = [
    *(
        token.encode()
        for token in [
            "\n",
            ":",
            "?",
            "-",
            ",",
            "#",
            "[",
            "]",
            "{",
            "}",
            "'",
            '"',
            "~",
            "-",
            "&a",
            "*a",
            "!x",
        ]
    ),
    *(token.encode() for token in ("\t", "\ufeff", "\0", "\x85", "\u2028", "  ", ": ")),
    *(b"!!binary ", b"<<: *a", b"|\n", b">-\n", b"---\n", b"...\n", b"%YAML 1.1\n"),
    *(b"%TAG ! !\n", b"\\ud800", b"\\u0000", b"\\x", b"null", b"true", b"1e999"),
    *(b"[" * 70, b"{a: " * 70, b'{"a":' * 70, b"&a [*a, *a]\n", b"config:\n"),
    *(b"devices:\n", b"expanded_config: {}\n", b"id: x\n", b"lxcpath: x\n"),
    *(b"user.a: b\n", b'"user.a": "b",', b"\xff", b"\xc3", b"\xed\xa0\x80"),
]

_text = st.text(max_size=8) | st.sampled_from(
    ["true", "1", "2017-12-21", "null", "~", "- a", "a: b", "x" * 70_000, "\n", "'"]
)
_keys = st.sampled_from(["user.a", "user.b", "limits.cpu", "security.devlxd"]) | _text
_texts = st.dictionaries(_keys, _text, max_size=4)
_others = st.sampled_from(["id", "name", "runtime", "architecture", "profiles"])


@st.composite
def valid_documents(draw: st.DrawFn) -> bytes:
    """Return a valid document, in one of the formats."""
    tree: dict[str, object] = {
        "config": draw(_texts),
        "devices": draw(st.dictionaries(_text.filter(bool), _texts, max_size=2)),
    }
    tree |= draw(st.dictionaries(_others, _text, max_size=2))
    kind = draw(st.sampled_from(["yaml", "flow", "json", "backup"]))
    if kind == "backup":
        tree = {"container": {f"expanded_{key}": tree[key] for key in tree}}
    if kind == "json":
        indent = draw(st.sampled_from([None, 2]))
        return json.dumps(tree, indent=indent).encode()
    text: str = yaml.safe_dump(tree, default_flow_style=kind == "flow")
    return text.encode()


def parse(content: bytes, form: Format) -> ParsedDocument | DocumentError:
    """Parse a document in its slices; return the result or the error."""
    slices = 0
    parsing = parse_document("c1", content, form)
    while True:
        try:
            next(parsing)
        except StopIteration as stop:
            parsed: ParsedDocument = stop.value
            return parsed
        except DocumentError as error:
            return error
        slices += 1
        assert slices <= SLICES + len(content) / BYTES_IN_SLICE


def check(content: bytes) -> None:
    """Check a document in all formats."""
    for form in Format:
        result = parse(content, form)
        if isinstance(result, DocumentError):
            check_error(result, content)
        else:
            check_container(result.container)
    check_long_json(content)


def check_error(error: DocumentError, content: bytes) -> None:
    """Check that an error has a reason, which can be printed, and a line."""
    assert error.reason
    assert error.reason.isprintable(), ascii(error.reason)
    assert len(error.reason) < 500, error.reason
    if error.line is None:
        assert error.reason.startswith(WITHOUT_LINE), error.reason
    else:
        # YAML has more ends of lines than one.
        lines = len(content.decode("utf-8", "replace").splitlines())
        assert 0 <= error.line <= lines + 1, f"{error.line} of {lines}: {error.reason}"


def check_container(container: Container) -> None:
    """Check the types of a container."""
    mappings = [container.config, *container.devices.values()]
    for mapping in mappings:
        for key, value in mapping.items():
            assert type(key) is str
            assert type(value) is str
    assert all(type(name) is str and name for name in container.devices)


def check_long_json(content: bytes) -> None:
    """Check that a long JSON document is read like a short one."""
    short = parse(content, Format.JSON)
    long = parse(content + b" " * MAX_SIMPLE_JSON, Format.JSON)
    if isinstance(short, DocumentError):
        assert isinstance(long, DocumentError), f"{short.reason}: long, it is right"
        assert (short.reason, short.line) == (long.reason, long.line)
    else:
        assert long == short, f"short: {short}\nlong: {long}"


#: Valid and damaged documents.
TARGET = Target(
    "documents",
    mostly(mutated(valid_documents(), TOKENS), st.binary(max_size=300)),
    check,
)
