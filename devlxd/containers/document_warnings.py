# -*- test-case-name: tests.containers.test_documents -*-
"""What in a document looks like a mistake, though the document counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from attrs import frozen

from devlxd.booleans import is_false, is_true
from devlxd.containers.trees import PIECES, shown
from devlxd.turns import Slices

#: What is named of one document at most.
MAX_HINTS = 10

#: The keys at the top of a document that count.
_COUNT = ("config", "devices", "id", "lxcpath", "name", "runtime")

#: Those that ``lxc config show`` and the REST APIs of LXD and Incus print besides.
_PRINTED = (
    "architecture",
    "backups",
    "created_at",
    "description",
    "disk_only",
    "ephemeral",
    "etag",
    "expanded_config",
    "expanded_devices",
    "instance",
    "last_used_at",
    "location",
    "profiles",
    "project",
    "restore",
    "snapshots",
    "state",
    "stateful",
    "status",
    "status_code",
    "type",
)

#: The config keys that switch something on or off for guests.
_SWITCHES = ("security.devapollo", "security.devlxd", "security.devlxd.images")

#: The other ones that say what guests may do.
_PERMISSIONS = ("security.devapollo.uids", "security.devlxd.uids")

#: Keys of LXD's own that look like these.
_NO_MISTAKES = ("security.devlxd.management.volumes",)

#: How alike a key must be to be taken for one of these.
_LIKENESS = 0.85

#: How many keys of one document are compared with these at most: it takes time.
_MAX_COMPARED = 64

#: No key that is meant to be another is longer, in characters.
_MAX_LENGTH = 64


@frozen
class Hint:
    """One thing that looks like a mistake.

    :ivar text: what it is, in words.
    :ivar line: where, counted from 1.
    """

    text: str
    line: int


def hints_at_top(lines: Mapping[str, int]) -> Iterator[Hint]:
    """Tell of the keys at the top of a document that mean nothing.

    :param lines: each key with its line.
    """
    known = (*_COUNT, *_PRINTED)
    for key, line in lines.items():
        if key not in known:
            meant = _meant(key, known, 0.6)
            yield Hint(f"{shown(key)} means nothing{meant}", line)


def hints_in_config(
    config: Mapping[str, str], lines: Mapping[str, int]
) -> Slices[list[Hint]]:
    """Tell of switches with a wrong name, or that say neither yes nor no."""
    hints: list[Hint] = []
    compared = 0
    for number, (key, value) in enumerate(config.items(), 1):
        text = ""
        if key in _SWITCHES:
            text = _of_value(key, value)
        elif key.startswith("sec") and compared < _MAX_COMPARED:
            text = _of_name(key)
            compared += 1
            yield
        if text and len(hints) < MAX_HINTS:
            hints.append(Hint(text, lines[key]))
        if number % (16 * PIECES) == 0:
            yield
    return hints


def _of_value(switch: str, value: str) -> str:
    if not value or is_true(value) or is_false(value):
        return ""
    return f"{switch} says neither true nor false: {shown(value)}"


def _of_name(key: str) -> str:
    if key in (*_PERMISSIONS, *_NO_MISTAKES):
        return ""
    meant = _meant(key, (*_SWITCHES, *_PERMISSIONS), _LIKENESS)
    is_like_one = meant or key.startswith(_SWITCHES)
    return f"{shown(key)} means nothing{meant}" if is_like_one else ""


def _meant(key: str, known: tuple[str, ...], likeness: float) -> str:
    close = get_close_matches(key, known, 1, likeness) if len(key) < _MAX_LENGTH else ()
    return f"; {close[0]} is meant?" if close else ""
