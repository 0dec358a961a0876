# -*- test-case-name: tests.guestapi.test_ssh_keys -*-
"""SSH keys in the config of a container, for cloud-init.

``cloud-init.ssh-keys.NAME`` is ``USER:KEY``: a public key, or where to import one
from, such as ``gh:me``. The keys are added to the user-data and vendor-data of the
container, as LXD 6 does it.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from devlxd.guestapi.cloud_config import (
    CloudConfig,
    UserKeys,
    add_keys,
    read_cloud_config,
)
from devlxd.guestapi.yaml_nodes import NotMergeableError
from devlxd.turns import Slices

#: The prefix of the config keys with SSH keys.
SSH_KEYS_PREFIX = "cloud-init.ssh-keys."

#: The maximum number of SSH keys that are added.
MAX_KEYS = 4096

#: The maximum length of the value of each, in characters.
MAX_KEY = 64 * 1024

#: How many keys of the config are processed in one slice.
_SLICE_LENGTH = 1000

_VENDOR_DATA = ("cloud-init.vendor-data", "user.vendor-data")

_USER_DATA = ("cloud-init.user-data", "user.user-data")

#: The config keys whose values SSH keys are added to.
DATA_KEYS = frozenset((*_VENDOR_DATA, *_USER_DATA))


@frozen
class MergedKeys:
    """The config keys that SSH keys change.

    :ivar values: the new values by config key. Keys that the config does not contain
        are in it where `merge_ssh_keys` adds a value.
    :ivar problems: why values could not be changed, by config key.
    """

    values: Mapping[str, str]
    problems: Mapping[str, str]


def merge_ssh_keys(config: Mapping[str, str]) -> Slices[MergedKeys]:
    """Add the SSH keys in a config to user-data and vendor-data, in slices.

    The user-data of a container replaces the users of its vendor-data. Keys are
    therefore added to it only if it has users, or if the vendor-data has none. If one
    of the two has no value, it gets one under its name with ``cloud-init.``: under
    both names, as LXD does it, cloud-init would warn about one of them.
    """
    try:
        keys = yield from user_keys(config)
    except NotMergeableError as error:
        names = (_VENDOR_DATA[0], _USER_DATA[0])
        return MergedKeys({}, dict.fromkeys(names, error.reason))
    merge = _Merge(config, keys)
    if keys:
        vendor_has_users = yield from merge.vendor_has_users()
        yield from merge.add_to(_VENDOR_DATA, True)
        yield from merge.add_to(_USER_DATA, not vendor_has_users)
    return MergedKeys(merge.values, merge.problems)


def user_keys(config: Mapping[str, str]) -> Slices[dict[str, UserKeys]]:
    """Return the keys in a config by the names of their users, in slices.

    A value without a ``:``, such as ``none``, is ignored.

    :raises NotMergeableError: when there are too many, or one is too long.
    """
    values = []
    for number, (name, value) in enumerate(config.items(), 1):
        if name.startswith(SSH_KEYS_PREFIX):
            values.append((name, value))
            if len(values) > MAX_KEYS:
                raise NotMergeableError(f"more than {MAX_KEYS} SSH keys")
            if len(value) > MAX_KEY:
                raise NotMergeableError("an SSH key that is too long")
        if number % _SLICE_LENGTH == 0:
            yield
    found: dict[str, tuple[list[str], list[str]]] = {}
    for number, (_, value) in enumerate(sorted(values), 1):
        user, _, key = value.partition(":")
        if user and key:
            public, imported = found.setdefault(user, ([], []))
            (public if " " in key else imported).append(key)
        if number % _SLICE_LENGTH == 0:
            yield
    return {user: UserKeys(*map(_unique, lists)) for user, lists in found.items()}


def _unique(keys: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))


class _Merge:
    """Adds keys to the values of one config."""

    def __init__(self, config: Mapping[str, str], keys: Mapping[str, UserKeys]) -> None:
        self._config = config
        self._keys = keys
        self._configs: dict[str, CloudConfig] = {}
        self.values: dict[str, str] = {}
        self.problems: dict[str, str] = {}

    def vendor_has_users(self) -> Slices[bool]:
        """Return whether the vendor-data that cloud-init uses has users."""
        try:
            read = yield from self._read(self._names_of(_VENDOR_DATA)[0])
        except NotMergeableError:
            return False
        return read.has_users

    def add_to(self, names: tuple[str, str], always: bool) -> Slices[None]:
        """Add the keys to the values under some names.

        :param always: whether to add them to a value without users, too.
        """
        for name in self._names_of(names):
            try:
                read = yield from self._read(name)
                if always or read.has_users:
                    self.values[name] = yield from add_keys(read, self._keys)
            except NotMergeableError as error:
                self.problems[name] = error.reason

    def _read(self, name: str) -> Slices[CloudConfig]:
        if name not in self._configs:
            text = self._config.get(name, "")
            self._configs[name] = yield from read_cloud_config(text)
        return self._configs[name]

    def _names_of(self, names: tuple[str, str]) -> list[str]:
        """Return the names that have values; if none has one, the first."""
        return [name for name in names if self._config.get(name)] or [names[0]]
