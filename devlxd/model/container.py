# -*- test-case-name: tests.test_model -*-
"""A container, as its store knows it at one point in time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from attrs import Attribute, field, frozen

#: The config key with the uuid that LXD gives a container when it creates it.
UUID_KEY = "volatile.uuid"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)


def is_container_name(name: str) -> bool:
    """Return whether ``name`` is a valid container name.

    At most 128 ASCII letters, digits, ``_``, ``.`` and ``-``; the first one is
    neither ``.`` nor ``-``. This covers the names of LXC, LXD (also
    ``PROJECT_NAME``), systemd-nspawn, podman and docker. Such a name is always
    one component of a path and never a hidden file.
    """
    return _NAME.fullmatch(name) is not None


def _text_mapping(
    values: Mapping[str, str], what: str, key_kind: str
) -> Mapping[str, str]:
    """Return a read-only copy of a mapping of text to text.

    A `types.MappingProxyType` is returned as it is, see `Container`.

    :param what: the name of the mapping in error messages: ``config``.
    :param key_kind: the name of its keys in error messages: ``config key``.
    :raises TypeError: if it is not a mapping of text to text.
    """
    if isinstance(values, MappingProxyType):
        return values
    if not isinstance(values, Mapping):
        raise TypeError(f"{what} must be a mapping, not {_type_name(values)}")
    for key, value in values.items():
        for part in (key, value):
            if not isinstance(part, str):
                raise TypeError(
                    f"{key_kind} {key!r} must be text, not {_type_name(part)}"
                )
    return MappingProxyType(dict(values))


def _type_name(value: object) -> str:
    return type(value).__name__


def _frozen_config(config: Mapping[str, str]) -> Mapping[str, str]:
    return _text_mapping(config, "config", "config key")


def _are_frozen(devices: Mapping[str, Mapping[str, str]]) -> bool:
    return isinstance(devices, MappingProxyType) and all(
        isinstance(device, MappingProxyType) for device in devices.values()
    )


def _frozen_devices(
    devices: Mapping[str, Mapping[str, str]],
) -> Mapping[str, Mapping[str, str]]:
    if _are_frozen(devices):
        return devices
    if not isinstance(devices, Mapping):
        raise TypeError(f"devices must be a mapping, not {_type_name(devices)}")
    frozen_devices = {}
    for name, device in devices.items():
        if not isinstance(name, str):
            raise TypeError(
                f"device name {name!r} must be text, not {_type_name(name)}"
            )
        what = f"device {name!r}"
        frozen_devices[name] = _text_mapping(device, what, f"{what} key")
    return MappingProxyType(frozen_devices)


def _check_text(_container: object, attribute: Attribute[str], value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be text, not {_type_name(value)}")


def _check_name(container: object, attribute: Attribute[str], name: str) -> None:
    _check_text(container, attribute, name)
    if not is_container_name(name):
        raise ValueError(f"{name!r} is not a valid container name")


@frozen
class Container:
    """One container: an immutable snapshot, replaced whole when it changes.

    The mappings are checked and copied, unless they are a
    `types.MappingProxyType`. Such a mapping is used as it is: its creator
    guarantees that it maps text to text and never changes. The directory store,
    which reads documents of 100 000 keys in small slices, creates its snapshots
    this way.

    :ivar name: its name on the host, see `is_container_name`.
    :ivar config: its expanded configuration, text to text.
    :ivar devices: its expanded devices by their names, each text to text.
    :ivar id: the id that its runtime gave it, where cgroups are named by ids
        (podman, docker). Default: empty.
    :ivar hostname: its name inside the container. In an LXD project ``web`` the
        container ``web_c1`` of the host has the hostname ``c1``. Default: `name`.
    :ivar runtime: the `devlxd.interfaces.IRuntime.name` of the only runtime that
        may run this container. Default: empty, any runtime may.
    :ivar lxcpath: the only LXC path that may hold this container, for example
        ``/var/lib/lxc``. Default: empty, any path may.
    :ivar origin: a value of its store that differs between two containers that
        have the same name one after the other. For a document on disk: the
        inode and the birth time. Default: empty, unknown. A container that has
        neither an origin nor ``volatile.uuid`` nor an id has no past events
        after a restart of devlxd.
    :raises TypeError: if a value has the wrong type. The message names the key:
        ``config key 'user.x' must be text, not int``.
    :raises ValueError: if the name is not a valid container name.
    """

    name: str = field(validator=_check_name)
    config: Mapping[str, str] = field(factory=dict, converter=_frozen_config)
    devices: Mapping[str, Mapping[str, str]] = field(
        factory=dict, converter=_frozen_devices
    )
    id: str = field(default="", validator=_check_text)
    hostname: str = field(validator=_check_text)
    runtime: str = field(default="", validator=_check_text)
    lxcpath: str = field(default="", validator=_check_text)
    origin: str = field(default="", validator=_check_text)

    @hostname.default
    def _default_hostname(self) -> str:
        return self.name

    @property
    def uuid(self) -> str:
        """The ``volatile.uuid`` of the container; empty if it has none."""
        return self.config.get(UUID_KEY, "")

    def is_different_from(self, other: Container) -> bool:
        """Return whether this is a different container with the name of ``other``.

        A container that was removed and created again has another `id`, or another
        ``volatile.uuid`` of LXD. If one of the two has no ``volatile.uuid``, only
        the ids are compared. The origin is never compared: it also changes when an
        editor replaces the document.
        """
        has_other_uuid = self.uuid and other.uuid and self.uuid != other.uuid
        return self.id != other.id or bool(has_other_uuid)
