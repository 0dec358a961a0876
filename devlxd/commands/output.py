# -*- test-case-name: tests.commands.test_output -*-
"""Writing results: text for people, fitted to the terminal, and JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, AnyStr

from devlxd.commands.outcomes import CommandError
from devlxd.printable_text import escaped

#: The width of lines where the standard output is not a terminal, in characters.
WIDTH = 80

#: The space between two columns.
_GAP = "  "


def printable(value: object) -> str:
    """Return the text of a value, with control characters escaped.

    :param value: a value of a JSON document. What is absent or empty is ``-``.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{printable(k)} {printable(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(printable, value))
    if value is None or value == "":
        return "-"
    return escaped(str(value))


def write(text: str) -> None:
    """Write to the standard output, at once.

    :raises BrokenPipeError: when its reader has closed it.
    :raises CommandError: when it cannot be written for another reason.
    """
    if sys.stdout is not None:
        _write(sys.stdout, text)


def write_bytes(data: bytes) -> None:
    """Write bytes to the standard output, at once.

    :raises BrokenPipeError: see `write`.
    :raises CommandError: see `write`.
    """
    if sys.stdout is not None:
        _write(sys.stdout.buffer, data)


def _write(stream: IO[AnyStr], data: AnyStr) -> None:
    try:
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # Python would try again when it exits.
        discard_output()
        raise CommandError(f"standard output: {error.strerror}") from None


def note(text: str) -> None:
    """Write a line to the standard error."""
    if sys.stderr is not None:
        sys.stderr.write(f"devlxd: {printable(text)}\n")
        sys.stderr.flush()


def discard_output() -> None:
    """Let what cannot be written to the standard output go nowhere."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)


def json_text(value: object) -> str:
    """Return a value as indented JSON, in ASCII."""
    return json.dumps(value, indent=2) + "\n"


def is_terminal() -> bool:
    """Return whether the standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def width() -> int:
    """Return the width of lines in characters: that of the terminal, if it is one."""
    if not is_terminal():
        return WIDTH
    # It takes longer to import than the rest of the module.
    import shutil  # noqa: PLC0415

    return shutil.get_terminal_size((WIDTH, 24)).columns


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an aligned table. On a terminal its lines are cut to fit."""
    texts = [list(titles), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = (
        _GAP.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))
        for line in texts
    )
    return "".join(f"{_cut(line.rstrip())}\n" for line in lines)


def _cut(line: str) -> str:
    most = width()
    return line if len(line) <= most or not is_terminal() else f"{line[: most - 3]}..."


def paragraphs(rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Return names with texts beside them, wrapped.

    :param rows: names, each with its texts; those without a text are left out.
    """
    shown = [(name, list(texts)) for name, texts in rows]
    indent = max((len(name) for name, texts in shown if texts), default=0)
    indent += len(_GAP) if indent else 0
    return "".join(
        f"{line}\n" for name, texts in shown for line in _wrapped(name, texts, indent)
    )


def _wrapped(name: str, texts: Iterable[str], indent: int) -> Iterator[str]:
    # Most answers of the guest API are not wrapped.
    import textwrap  # noqa: PLC0415

    for text in texts:
        yield from textwrap.wrap(
            text,
            max(width(), indent + 20),
            initial_indent=name.ljust(indent),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        name = ""
