# -*- test-case-name: tests.containers.test_document_warnings -*-
"""Finding likely mistakes in a document that is valid."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from attrs import frozen

from devlxd.booleans import is_false, is_true
from devlxd.containers.document_trees import PIECES
from devlxd.model import Fault
from devlxd.printable_text import printable
from devlxd.turns import Slices

#: The maximum number of warnings about one document of each of these kinds: about its
#: top-level keys, and about mistakes in its config keys.
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

#: Keys of this length or more, in characters, are not compared, and only as much of a
#: key is searched.
_MAX_LENGTH = 64

#: Config keys with these words have values that are probably secret. The texts for
#: cloud-init often have passwords in them.
_SECRET = re.compile(
    "credential|passphrase|passwd|password|private.?key|secret|token"
    "|user-data|vendor-data",
    re.IGNORECASE,
)

#: A list of users: uids, or ``*`` for all users.
_UIDS = re.compile(r"[ \d*,]*", re.ASCII)


@frozen
class AccessKeys:
    """The config keys that decide what guests may do.

    :ivar booleans: those whose values are true or false.
    :ivar others: those with other values.
    :ivar similar: other keys that are similar to access keys, but are no mistakes.
    :ivar exported: the prefixes of the keys that guests may read.
    :ivar hidden: those of the prefixes of which no dialect that is served lets guests
        read the keys.
    :ivar uids: those whose values are lists of users.
    """

    booleans: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()
    exported: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    uids: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All access keys, whatever their values are."""
        return (*self.booleans, *self.uids, *self.others)

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
    :ivar line: the line of the mistake, counted from 1; 0 if there is none.
    """

    text: str
    line: int

    def fault_in(self, file: str, name: str) -> Fault:
        """Return the fault in the document of the container ``name``.

        :param file: the path of the document, printable.
        """
        return Fault(file, self.line, self.text, name, breaks=False)


def top_level_warnings(
    lines: Mapping[str, int], access_keys: AccessKeys
) -> Iterator[DocumentWarning]:
    """Find the top-level keys of a document that have no effect.

    :param lines: each key with its line.
    """
    known = (*_EFFECTIVE_KEYS, *_PRINTED_KEYS)
    for key, line in lines.items():
        if key not in known:
            suggestion = _suggestion(key, known, _TOP_LEVEL_SIMILARITY)
            if key in access_keys.all or key.startswith(access_keys.exported):
                suggestion = "; write it below config:"
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
    hidden_key: str | None = None
    for number, (key, value) in enumerate(config.items(), 1):
        text = ""
        if hidden_key is None and key.startswith(access_keys.hidden):
            hidden_key = key
        if key in access_keys.booleans:
            text = _warning_of_boolean(key, value)
        elif key in access_keys.uids:
            text = _warning_of_uids(key, value)
        elif key.startswith(prefixes) and comparisons < _MAX_COMPARISONS:
            text = _warning_of_key(key, access_keys)
            comparisons += 1
            yield
        if text and len(warnings) < MAX_WARNINGS:
            warnings.append(DocumentWarning(text, lines[key]))
        if number % (16 * PIECES) == 0:
            yield
    if hidden_key is not None:
        text = _warning_of_hidden_key(hidden_key, access_keys)
        warnings.append(DocumentWarning(text, lines[hidden_key]))
    return warnings


def secret_key(config: Mapping[str, str]) -> Slices[str | None]:
    """Find a config key whose value is probably secret, in slices.

    :return: ``None`` if there is none.
    """
    for number, key in enumerate(config, 1):
        if _SECRET.search(key, 0, _MAX_LENGTH):
            return key
        if number % (16 * PIECES) == 0:
            yield
    return None


def public_warning(key: str) -> DocumentWarning:
    """Return a warning about a document that every user of the host can read.

    :param key: a config key whose value is probably secret.
    """
    text = (
        f"every user of the host can read this file, and {printable(key)} may be "
        "secret; change its mode to 0640"
    )
    return DocumentWarning(text, 0)


def id_warning(line: int | None, other: str) -> DocumentWarning:
    """Return a warning about an id that two containers have.

    :param line: the line of the id; ``None`` if unknown.
    :param other: the name of the other container.
    """
    text = (
        f"id is also the id of {other}, and neither container is found by it; "
        "write the id of this container"
    )
    return DocumentWarning(text, line or 0)


def _warning_of_uids(key: str, value: str) -> str:
    if _UIDS.fullmatch(value):
        return ""
    return f"{key} is no list of uids; write numbers with commas between them, or *"


def _warning_of_boolean(key: str, value: str) -> str:
    if not value or is_true(value) or is_false(value):
        return ""
    return f"{key} is neither true nor false; write true or false"


def _warning_of_hidden_key(key: str, access_keys: AccessKeys) -> str:
    text = f"{printable(key)} is shown to guests by no dialect that is served"
    hidden = [prefix for prefix in access_keys.hidden if key.startswith(prefix)]
    shown = [p for p in access_keys.exported if p not in access_keys.hidden]
    if not shown:
        return f"{text}; serve another dialect"
    name = printable(shown[0] + key.removeprefix(hidden[0]))
    return f"{text}; write {name}, or serve another dialect"


def _warning_of_key(key: str, access_keys: AccessKeys) -> str:
    if key in (*access_keys.uids, *access_keys.others, *access_keys.similar):
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
