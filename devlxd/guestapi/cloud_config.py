# -*- test-case-name: tests.guestapi.test_ssh_keys -*-
"""``#cloud-config`` texts for cloud-init, and the SSH keys of their users.

The rules are those of LXD 6 (``lxd/cloudinit/config.go``). Unlike LXD, only the entry
``users`` is written anew: the rest of a text stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count

import yaml
from attrs import frozen

from devlxd.guestapi.yaml_mappings import MappingText, read_mapping
from devlxd.guestapi.yaml_nodes import (
    EVENTS,
    STRING,
    Node,
    NotMergeableError,
    mapping,
    sequence,
    string,
    tag_of,
    write,
)
from devlxd.turns import Slices

#: What a text begins with, on its first or its second line.
HEAD = "#cloud-config"

#: The comment after each key that is added.
COMMENT = "#lxd:cloud-init.ssh-keys"

_USERS = "users"

#: Strings that need no quotes, with a comment after them.
_PLAIN = re.compile(r"[A-Za-z][\w+/=@.,-]*(?:[ :][\w+/=@.,-]+)*", re.ASCII)


@frozen
class UserKeys:
    """The keys to add for one user.

    :ivar public: public keys: ``ssh-ed25519 AAAA... me@home``.
    :ivar imported: where to import keys from: ``gh:me``.
    """

    public: tuple[str, ...] = ()
    imported: tuple[str, ...] = ()

    def lists(self) -> Mapping[str, tuple[str, ...]]:
        """Return what to add to each list of a user, by the name of the list."""
        lists = {"ssh_authorized_keys": self.public, "ssh_import_id": self.imported}
        return {name: values for name, values in lists.items() if values}


@frozen
class CloudConfig:
    """A ``#cloud-config`` text.

    :ivar text: the text.
    :ivar mapping: the mapping in it; ``None`` if there are only comments.
    """

    text: str
    mapping: MappingText | None

    @property
    def has_users(self) -> bool:
        """Whether it defines users, and replaces those of vendor-data."""
        if self.mapping is None or not self.mapping.has(_USERS):
            return False
        users = self.mapping.nodes.get(_USERS)
        return users is None or users.text != ""


def read_cloud_config(text: str) -> Slices[CloudConfig]:
    """Read a ``#cloud-config`` text, in slices.

    :param text: the text; empty is a text with no entries.
    :raises NotMergeableError: when it is of another kind, or cannot be read.
    """
    if not text:
        return CloudConfig(HEAD + "\n", None)
    first, _, rest = text.partition("\n")
    if first.startswith("## template:"):
        raise NotMergeableError("a template")
    if HEAD not in (first.strip(), rest.partition("\n")[0].strip()):
        raise NotMergeableError(f"not {HEAD}")
    return CloudConfig(text, (yield from read_mapping(text, (_USERS,))))


def add_keys(config: CloudConfig, keys: Mapping[str, UserKeys]) -> Slices[str]:
    """Return the text with SSH keys added to its users, in slices.

    :param keys: the keys by the names of their users.
    :raises NotMergeableError: when the users are not a list, or aliases elsewhere
        refer to them.
    """
    read = config.mapping
    value = None if read is None else read.nodes.get(_USERS)
    if value is None and read is not None and read.has(_USERS):
        raise NotMergeableError(f"{_USERS!r} comes from another mapping")
    writer = _Writer(read is not None and read.is_flow, _unused_mark(config.text, keys))
    users = _Users(_items(value, _USERS), writer)
    yield from users.index()
    for name, added in keys.items():
        yield from users.add(name, added)
    entry = mapping([(writer.string(_USERS), sequence(users.nodes))], writer.is_flow)
    written = writer.finish((yield from write(entry)))
    if read is None:
        end = "" if config.text.endswith("\n") else "\n"
        return config.text + end + written
    if read.is_null:
        return f"{HEAD}\n{written}"
    return _with_users(read, written)


def _with_users(read: MappingText, written: str) -> str:
    """Return a text with another entry for the users, or with a new one."""
    start = end = read.position
    has_next = bool(read.entries)
    for entry in read.entries:
        if entry.key == _USERS:
            if entry.is_referenced:
                raise NotMergeableError(f"aliases elsewhere refer to {_USERS!r}")
            start, end = entry.start, entry.end
            has_next = entry is not read.entries[-1]
    if read.is_flow:
        inserted = written.strip()[1:-1] + (", " if has_next else " ")
    else:
        indentation = " " * read.column
        lines = re.sub("(?m)^(?=.)", indentation, written)
        inserted = lines[read.column :] + (indentation if has_next else "")
    return read.text[:start] + inserted + read.text[end:]


def _unused_mark(text: str, keys: Mapping[str, UserKeys]) -> str:
    """Return a mark for `_Writer` that neither the text nor the keys contain."""
    values = [
        value
        for name, added in keys.items()
        for value in (name, *added.public, *added.imported)
    ]
    texts = (text, *values)
    if not any(COMMENT in one for one in texts):
        return COMMENT
    numbered = re.compile(re.escape(COMMENT) + r"-(\d+)!")
    used = {number for one in texts for number in numbered.findall(one)}
    return next(f"{COMMENT}-{n}!" for n in count() if str(n) not in used)


@frozen
class _Writer:
    """Creates the nodes that are added.

    libyaml cannot write comments. An added key is therefore written with a mark at its
    end, which `finish` replaces by the comment.

    :ivar is_flow: whether they are written between braces, and without comments.
    :ivar mark: the mark; it must be nowhere else in the text.
    """

    is_flow: bool
    mark: str

    def string(self, value: str, mark: str = "") -> Node:
        """Return a scalar, with quotes if it needs any."""
        unquoted = yaml.ScalarEvent(None, None, (True, False), value)
        is_plain = _PLAIN.fullmatch(value) and tag_of(unquoted) == STRING
        return string(value + mark, '"' if self.is_flow or not is_plain else None)

    def added(self, value: str) -> Node:
        """Return the scalar of an added key."""
        return self.string(value, "" if self.is_flow else self.mark)

    def finish(self, written: str) -> str:
        """Replace the marks in a text by comments."""
        mark = re.escape(self.mark)
        return re.sub(rf"(?m){mark}(\"?)$", rf"\1 {COMMENT}", written)


class _Users:
    """The users of a text, and where each of them is in the list.

    :param nodes: the items of the list; each is a name or a mapping.
    :param writer: creates the nodes that are added.
    :ivar nodes: the items, with those that were added.
    """

    def __init__(self, nodes: list[Node], writer: _Writer) -> None:
        self.nodes = nodes
        self._writer = writer
        self._numbers: dict[str, int] = {}
        # Whether an item is neither. The users after it are not found.
        self._has_wrong = False

    def index(self) -> Slices[None]:
        """Find the names of the users, in slices."""
        for number, node in enumerate(self.nodes, 1):
            if not node.is_mapping and node.text is None:
                self._has_wrong = True
                return
            name = _name_of(node)
            if name is not None:
                self._numbers.setdefault(name, number - 1)
            if number % EVENTS == 0:
                yield

    def add(self, name: str, added: UserKeys) -> Slices[None]:
        """Add keys to a user, in slices; add the user if it is not in the list."""
        number = self._numbers.get(name)
        if number is None and self._has_wrong:
            raise NotMergeableError("a user is neither a name nor a mapping")
        if number is None:
            number = self._numbers[name] = len(self.nodes)
            self.nodes.append(self._writer.string(name))
        node = self.nodes[number]
        if node.is_mapping:
            pairs = _pairs(node)
        else:
            pairs = [(self._writer.string("name"), node)]
        self.nodes[number] = yield from _with_lists(pairs, added, self._writer)
        yield


def _name_of(user: Node) -> str | None:
    """Return the name of a user; of repeated ones the last, as YAML readers do."""
    if not user.is_mapping:
        return user.text
    names = [value.text for key, value in _pairs(user) if key.text == "name"]
    return names[-1] if names else None


def _with_lists(
    pairs: list[tuple[Node, Node]], added: UserKeys, writer: _Writer
) -> Slices[Node]:
    """Return the mapping of a user with added keys, in slices.

    cloud-init has changed the spelling of the lists, and reads both. LXD adds keys to
    both; but of two lists cloud-init uses only one, and it warns about the old
    spelling. Keys are added to the lists that are there, or to one with the new one.
    """
    entries = {key.text or key: (key, value) for key, value in pairs}
    for name, values in added.lists().items():
        spellings = (name, name.replace("_", "-"))
        for spelling in [one for one in spellings if one in entries] or [name]:
            key, value = entries.get(spelling, (writer.string(name), None))
            items = _items(value, spelling)
            present = {item.text for item in items}
            for number, one in enumerate(values, 1):
                if one not in present:
                    items.append(writer.added(one))
                if number % EVENTS == 0:
                    yield
            entries[spelling] = (key, sequence(items))
    return mapping(list(entries.values()))


def _items(value: Node | None, name: str) -> list[Node]:
    """Return the items of a list; a string is a list with one item."""
    if value is None:
        return []
    if value.is_sequence:
        return list(value.children)
    if value.text is None:
        raise NotMergeableError(f"{name!r} is not a list")
    return [value]


def _pairs(node: Node) -> list[tuple[Node, Node]]:
    """Return the entries of a mapping after those that it includes with ``<<``."""
    included: list[tuple[Node, Node]] = []
    own = []
    for key, value in node.pairs():
        if not key.is_merge:
            own.append((key, value))
            continue
        for source in reversed(value.children if value.is_sequence else (value,)):
            if not source.is_mapping:
                raise NotMergeableError("'<<' with a value that is not a mapping")
            included += _pairs(source)
    return included + own
