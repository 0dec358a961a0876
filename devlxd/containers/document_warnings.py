# -*- test-case-name: tests.containers.test_document_warnings -*-
"""Finding likely mistakes in a document that is valid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from attrs import frozen

from devlxd.booleans import is_false, is_true
from devlxd.containers.document_trees import PIECES, printable
from devlxd.turns import Slices

#: The maximum number of warnings about one document of each of these kinds: about its
#: top-level keys, and about its config keys.
MAX_WARNINGS = 10

#: The top-level keys that have an effect.
_EFFECTIVE_KEYS = ("config", "devices", "id", "lxcpath", "name", "runtime")

#: The top-level keys that ``lxc config show`` and the REST APIs of LXD and Incus
#: print in addition.
_PRINTED_KEYS = (
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

#: How similar a top-level key must be to a known key to be taken for a misspelling
#: of it, as `difflib.SequenceMatcher.ratio` defines it.
_TOP_LEVEL_SIMILARITY = 0.6

#: The same limit for a config key.
_CONFIG_SIMILARITY = 0.85

#: The maximum number of config keys of one document that are compared with known
#: keys: a comparison takes about 0.1 ms.
_MAX_COMPARISONS = 64

#: A config key is compared with the access keys if one of them begins with the same
#: characters: this many, after the prefix of the keys that guests may read.
_PREFIX_LENGTH = 3

#: Keys of this length or more, in characters, are not compared.
_MAX_LENGTH = 64


@frozen
class AccessKeys:
    """The config keys that decide what guests may do.

    :ivar booleans: those whose values are true or false.
    :ivar others: those with other values.
    :ivar similar: other keys that are similar to access keys, but are no mistakes.
    :ivar exported: the prefixes of the keys that guests may read.
    """

    booleans: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()
    exported: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All access keys, booleans and others."""
        return (*self.booleans, *self.others)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The first characters of keys that may be misspelled access keys."""
        return tuple({self._prefix_of(key) for key in self.all})

    def _prefix_of(self, key: str) -> str:
        exported = [p for p in self.exported if key.startswith(p)]
        return key[: max(map(len, exported), default=0) + _PREFIX_LENGTH]


#: No access keys: mistakes in them cause no warnings.
NO_ACCESS_KEYS = AccessKeys()


@frozen
class DocumentWarning:
    """One likely mistake in a document.

    :ivar text: a description of it.
    :ivar line: the line of the mistake, counted from 1.
    """

    text: str
    line: int


def top_level_warnings(lines: Mapping[str, int]) -> Iterator[DocumentWarning]:
    """Find the top-level keys of a document that have no effect.

    :param lines: each key with its line.
    """
    known = (*_EFFECTIVE_KEYS, *_PRINTED_KEYS)
    for key, line in lines.items():
        if key not in known:
            suggestion = _suggestion(key, known, _TOP_LEVEL_SIMILARITY)
            text = f"{printable(key)} has no effect{suggestion}"
            yield DocumentWarning(text, line)


def config_warnings(
    config: Mapping[str, str], lines: Mapping[str, int], access_keys: AccessKeys
) -> Slices[list[DocumentWarning]]:
    """Find misspelled access keys and wrong boolean values, in slices.

    :param lines: each key with its line.
    """
    warnings: list[DocumentWarning] = []
    comparisons = 0
    prefixes = access_keys.prefixes
    for number, (key, value) in enumerate(config.items(), 1):
        text = ""
        if key in access_keys.booleans:
            text = _warning_of_value(key, value)
        elif key.startswith(prefixes) and comparisons < _MAX_COMPARISONS:
            text = _warning_of_key(key, access_keys)
            comparisons += 1
            yield
        if text and len(warnings) < MAX_WARNINGS:
            warnings.append(DocumentWarning(text, lines[key]))
        if number % (16 * PIECES) == 0:
            yield
    return warnings


def id_warning(container_id: str, line: int | None, other: str) -> DocumentWarning:
    """Return a warning about an id that two containers have.

    :param line: the line of the id; ``None`` if unknown.
    :param other: the name of the other container.
    """
    text = (
        f"id {printable(container_id)} is also the id of {other}; "
        "neither container is found by it"
    )
    return DocumentWarning(text, line or 1)


def _warning_of_value(key: str, value: str) -> str:
    if not value or is_true(value) or is_false(value):
        return ""
    return f"{key} is neither true nor false: {printable(value)}"


def _warning_of_key(key: str, access_keys: AccessKeys) -> str:
    if key in (*access_keys.others, *access_keys.similar):
        return ""
    suggestion = _suggestion(key, access_keys.all, _CONFIG_SIMILARITY)
    if key.startswith(access_keys.exported):
        text = f"{printable(key)} is only shown to guests"
        return text + suggestion if suggestion else ""
    if not suggestion and not key.startswith(access_keys.booleans):
        return ""
    return f"{printable(key)} has no effect{suggestion}"


def _suggestion(key: str, known: tuple[str, ...], similarity: float) -> str:
    if len(key) >= _MAX_LENGTH:
        return ""
    matches = get_close_matches(key, known, 1, similarity)
    return f"; did you mean {matches[0]}?" if matches else ""
