# -*- test-case-name: tests.test_model -*-
"""The immutable values that the packages of devlxd exchange."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)

_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_container_name(name: str) -> bool:
    """Tell whether ``name`` may name a container.

    Letters, digits, ``_``, ``.`` and ``-``, at most 128 of them, the first
    one neither ``.`` nor ``-``: what LXC, LXD (also as ``PROJECT_NAME``),
    systemd-nspawn, podman and docker agree on. Such a name is always one
    component of a path and never hidden.
    """
    return _NAME.fullmatch(name) is not None


def is_fingerprint(text: str) -> bool:
    """Return whether ``text`` has the form of the fingerprint of an image.

    It is a SHA-256 as 64 lower-case hex digits.
    """
    return _FINGERPRINT.fullmatch(text) is not None


def _frozen_text(values: Mapping[str, str]) -> Mapping[str, str]:
    # Whoever gives a read-only one has done this already, in its own time.
    if isinstance(values, MappingProxyType):
        return values
    return MappingProxyType(dict(values))


def _are_frozen(devices: Mapping[str, Mapping[str, str]]) -> bool:
    parts = (devices, *devices.values())
    return all(isinstance(part, MappingProxyType) for part in parts)


def _frozen_devices(
    devices: Mapping[str, Mapping[str, str]],
) -> Mapping[str, Mapping[str, str]]:
    if _are_frozen(devices):
        return devices
    return MappingProxyType({name: _frozen_text(d) for name, d in devices.items()})


@frozen
class Container:
    """One guest: an immutable snapshot, replaced whole when it changes.

    The mappings that it is made of are copied, unless they are a
    `types.MappingProxyType`: of that one nobody may change what is behind it.

    :ivar name: the name that the host knows it by.
    :ivar config: its expanded configuration, text to text.
    :ivar devices: its expanded devices, name to text-to-text.
    :ivar id: the id that its runtime gave it, where cgroups are named by ids
        (podman, docker); empty where they are not.
    :ivar hostname: the name that it knows itself by. In an LXD project
        ``web`` the host's ``web_c1`` is ``c1`` to itself.
    :ivar runtime: the only runtime whose container this may be, by the name of
        `devlxd.interfaces.IRuntime.name`; empty where any may be.
    :ivar lxcpath: the only LXC path in which this may be, ``/var/lib/lxc`` for
        example; empty where any may be.
    :ivar origin: what two containers that have one name, one after the other,
        do not share, as its store knows: for a document on disk the inode and
        the birth time. Empty where the store does not know: a container that has
        neither ``volatile.uuid`` nor an id then begins anew, with no past, when
        devlxd is restarted.
    """

    name: str
    config: Mapping[str, str] = field(factory=dict, converter=_frozen_text)
    devices: Mapping[str, Mapping[str, str]] = field(
        factory=dict, converter=_frozen_devices
    )
    id: str = ""
    hostname: str = field()
    runtime: str = ""
    lxcpath: str = ""
    origin: str = ""

    @hostname.default
    def _own_name(self) -> str:
        return self.name

    def is_another_than(self, other: Container) -> bool:
        """Tell whether this is not ``other`` changed, but made anew under its name.

        The runtime's id tells, or LXD's ``volatile.uuid``; without either the
        name is all that there is.
        """
        uuids = [c.config.get("volatile.uuid", "") for c in (self, other)]
        return self.id != other.id or (all(uuids) and uuids[0] != uuids[1])


@frozen
class Event:
    """One change of a container, as its guests see it.

    :ivar container: the name of the container.
    :ivar type: ``config`` or ``device``; ``lost`` for the word that events are
        missing.
    :ivar timestamp: when, in nanoseconds since 1970. Of one container no two
        have the same one.
    :ivar text: the message, one line of JSON without its newline.
    """

    container: str
    type: str
    timestamp: int
    text: bytes


class End(enum.Enum):
    """Why a subscriber receives nothing any more."""

    #: It did not read what it was sent.
    TOO_SLOW = "too slow"
    #: It failed.
    FAILED = "failed"
    #: Its container is no more.
    GONE = "the container is gone"
    #: Nobody tells of events any more; who comes back later misses nothing.
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
