# -*- test-case-name: tests.test_model -*-
"""The immutable values that the packages of devlxd exchange."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import Attribute, field, frozen

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)

_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_container_name(name: str) -> bool:
    """Return whether ``name`` is a valid container name.

    At most 128 ASCII letters, digits, ``_``, ``.`` and ``-``; the first one is
    neither ``.`` nor ``-``. This covers the names of LXC, LXD (also
    ``PROJECT_NAME``), systemd-nspawn, podman and docker. Such a name is always
    one component of a path and never a hidden file.
    """
    return _NAME.fullmatch(name) is not None


def is_fingerprint(text: str) -> bool:
    """Return whether ``text`` has the form of the fingerprint of an image.

    It is a SHA-256 as 64 lower-case hex digits.
    """
    return _FINGERPRINT.fullmatch(text) is not None


def _text_mapping(
    values: Mapping[str, str], what: str, key_kind: str
) -> Mapping[str, str]:
    """Return a read-only copy of a mapping of text to text.

    A `types.MappingProxyType` is returned as it is, see `Container`.

    :param what: what it is, for the message of an error: ``config``.
    :param key_kind: what its keys are, for the message: ``config key``.
    :raises TypeError: when it is not a mapping of text to text.
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
    guarantees that it maps text to text and that nobody changes the mapping
    behind it. The directory store, which reads documents of 100 000 keys in
    small slices, creates its snapshots so.

    :ivar name: its name on the host, see `is_container_name`.
    :ivar config: its expanded configuration, text to text.
    :ivar devices: its expanded devices, name to text-to-text.
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
        inode and the birth time. Default: empty, unknown; a container that has
        neither an origin nor ``volatile.uuid`` nor an id has no past events
        after a restart of devlxd.
    :raises TypeError: when a value has the wrong type. The message names the key:
        ``config key 'user.x' must be text, not int``.
    :raises ValueError: when the name is not a valid container name.
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

    def is_another_than(self, other: Container) -> bool:
        """Return whether this is a different container with the name of ``other``.

        A container that was removed and created again is a different one. It has
        another `id`, or another ``volatile.uuid`` of LXD; a missing
        ``volatile.uuid`` counts as the same one.
        """
        uuids = [c.config.get("volatile.uuid", "") for c in (self, other)]
        return self.id != other.id or (all(uuids) and uuids[0] != uuids[1])


def _size_of(values: Mapping[str, object]) -> int:
    """Return the length of ``values`` as compact JSON, in bytes, without escapes."""
    # Braces, and for each item a comma, a colon and the quotes of its name.
    size = 2 + 4 * len(values) - (len(values) > 0)
    for name, value in values.items():
        size += len(name) if name.isascii() else len(name.encode("utf-8"))
        if isinstance(value, str):
            size += 2 + (len(value) if value.isascii() else len(value.encode("utf-8")))
        else:
            size += _size_of(value) if isinstance(value, Mapping) else len(str(value))
    return size


def _read_only(values: Mapping[str, object]) -> Mapping[str, object]:
    return values if isinstance(values, MappingProxyType) else MappingProxyType(values)


@frozen
class Event:
    """One change of one container.

    Subscribers share events: neither the metadata nor its values may be changed.

    :ivar container: the name of the container.
    :ivar type: ``config`` or ``device``; ``lost`` where events before this one
        are missing.
    :ivar timestamp: the time of the change, in nanoseconds since 1970. Each event
        of a container has another one.
    :ivar metadata: what has changed, a read-only mapping of names to text or to
        mappings. Of ``config``: ``key``, ``old_value`` and ``value``. Of
        ``device``: ``name``, ``action`` (``added``, ``updated`` or ``removed``)
        and ``config``, the device's keys to their values. Empty for ``lost``.
    :ivar size: the length of the metadata as compact JSON, in bytes, without what
        escapes add: what the bounds of queues and batches count.
    :raises UnicodeEncodeError: when UTF-8 cannot encode a value.
    """

    container: str
    type: str
    timestamp: int
    metadata: Mapping[str, object] = field(converter=_read_only, hash=False)
    size: int = field(init=False, eq=False, repr=False)
    _renderings: tuple[Any, ...] = field(default=(), init=False, eq=False, repr=False)

    @size.default
    def _metadata_size(self) -> int:
        return _size_of(self.metadata)

    def rendered(self, render: Callable[[Event], bytes]) -> bytes:
        """Return what ``render`` makes of this event.

        The result is kept with the event: of all subscribers only the first one
        costs a call of ``render``.
        """
        known = self._renderings
        if render in known:
            rendering: bytes = known[known.index(render) + 1]
            return rendering
        rendering = render(self)
        # One flat tuple is the smallest: there may be very many events.
        object.__setattr__(self, "_renderings", (*known, render, rendering))
        return rendering


class End(enum.Enum):
    """Why a subscription has ended."""

    #: The subscriber has not read for too long, or is too far behind.
    TOO_SLOW = "too slow"
    #: The subscriber has raised an exception.
    FAILED = "failed"
    #: The container was removed.
    REMOVED = "the container is gone"
    #: devlxd stops. A subscriber that comes back with ``since`` misses nothing.
    STOPPED = "devlxd stops"


@frozen
class Peer:
    """The process at the other end of a connection, as the kernel knows it.

    :ivar pid: its process id in the pid namespace of devlxd.
    :ivar uid: its effective user id on the host.
    :ivar gid: its effective group id on the host.
    :ivar pidfd: a file descriptor of the process (``pidfd_open(2)``). It belongs
        to the `devlxd.interfaces.IPeerSource`, which closes it. ``None`` where
        the process is not known.
    """

    pid: int
    uid: int
    gid: int
    pidfd: int | None = None


@frozen
class Caller:
    """The container and the user that a peer was identified as.

    :ivar container: the name of its container.
    :ivar uid: its user id inside that container, 0 for root; ``None`` for a user
        of the host that has no id there.
    :ivar run: the number of its container's run, by which
        `devlxd.interfaces.IRunObserver` is notified of the end of that run.
    """

    container: str
    uid: int | None
    run: int = 0


@frozen
class ImagePart:
    """One file of an image.

    :ivar name: ``metadata``, ``rootfs`` (of a container) or ``rootfs.img`` (of
        a virtual machine) in a split image; empty in an image of one file.
    :ivar filename: the name under which guests save it.
    :ivar size: in bytes.
    """

    name: str
    filename: str
    size: int


@frozen
class Image:
    """The description of an image, without its data.

    :ivar fingerprint: the SHA-256 of the data of all parts, in their order, as
        64 lower-case hex digits.
    :ivar parts: the only file of a unified image, or the two files of a split
        image: metadata, root file system.
    :ivar modified: the time of its last change, in seconds since 1970.
    """

    fingerprint: str
    parts: tuple[ImagePart, ...]
    modified: int

    @property
    def size(self) -> int:
        """The size of all parts together, in bytes."""
        return sum(part.size for part in self.parts)


@frozen
class ProcessStatus:
    """Facts of ``/proc/PID/status`` (``proc_pid_status(5)``).

    :ivar parent: the pid of its parent; 0 where devlxd cannot see the parent.
    :ivar uid: its real user id, as devlxd sees it.
    :ivar name: its own name, up to 15 bytes. The process can choose it.
    """

    parent: int
    uid: int
    name: str


@frozen
class Monitor:
    """The parent of a container's init, a process of the host's root.

    :ivar program: the path of the program that it runs.
    :ivar command_line: its command line, with NUL after each word. The
        monitor may have replaced it by a title.
    :ivar cgroups: the paths of its cgroups.
    """

    program: str
    command_line: str
    cgroups: tuple[str, ...]


@frozen
class Claim:
    """The container that a cgroup, or a run, belongs to, as its runtime names it.

    A claim has either a name or an id.

    :ivar name: the name of the container.
    :ivar id: the id of the container.
    :ivar runtime: the name of the runtime that started it; empty where it is not
        known.
    :ivar lxcpath: the LXC path from which it was started; empty where it is not
        known, or there is none.
    """

    name: str = ""
    id: str = ""
    runtime: str = ""
    lxcpath: str = ""

    def __str__(self) -> str:
        """Return the text for the log."""
        return self.name or f"id {self.id}"
