# -*- test-case-name: tests.guestapi.test_ssh_keys -*-
"""Where the keys of a YAML mapping begin: at the ``?`` if there is one."""

from __future__ import annotations

import re

from devlxd.guestapi.yaml_nodes import NotMergeableError

#: How much text may be between the ``?`` of an explicit key and the key, in characters.
_MAX_BEFORE_KEY = 4096

#: The ``?`` of an explicit key between braces, and what may be between it and the key.
_FLOW_INDICATOR = re.compile(r"[{,]\s*(\?)(?=\s)(?:\s|#[^\n]*\n)*\Z")


def flow_key_start(text: str, position: int) -> int:
    """Return where a key between braces begins.

    :param position: the position of the key itself.
    """
    start = max(0, position - _MAX_BEFORE_KEY)
    match = _FLOW_INDICATOR.search(text[start:position])
    return position if match is None else start + match.start(1)


def block_key_start(text: str, position: int, column: int) -> int:
    """Return the position of the ``?`` of a key on a line of its own.

    :param position: the position of the key itself.
    :param column: the column of the keys, and of the ``?``.
    :raises NotMergeableError: when there is none.
    """
    start = max(0, position - _MAX_BEFORE_KEY)
    # Where splitlines() splits, YAML ends a line, too, or does not allow the character.
    # The first line is incomplete, unless the text begins there.
    lines = text[start:position].splitlines(keepends=True)
    for line in reversed(lines[1:] if start else lines):
        position -= len(line)
        if line.startswith(" " * column + "?"):
            return position + column
    raise NotMergeableError("a key in an unknown place")
