# -*- test-case-name: tests.test_model -*-
"""The frozen values that travel between the rooms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)


def is_container_name(name: str) -> bool:
    """Tell whether ``name`` may name a container.

    Letters, digits, ``_``, ``.`` and ``-``, at most 128 of them, the first
    one neither ``.`` nor ``-``: what LXC, LXD (also as ``PROJECT_NAME``),
    systemd-nspawn, podman and docker agree on. Such a name is always one
    component of a path and never hidden.
    """
    return _NAME.fullmatch(name) is not None


def _frozen_text(values: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(values))


def _frozen_devices(
    devices: Mapping[str, Mapping[str, str]],
) -> Mapping[str, Mapping[str, str]]:
    return MappingProxyType({name: _frozen_text(d) for name, d in devices.items()})


@frozen
class Container:
    """One guest: an immutable snapshot, replaced whole when it changes.

    :ivar name: the name that the host knows it by.
    :ivar config: its expanded configuration, text to text.
    :ivar devices: its expanded devices, name to text-to-text.
    """

    name: str
    config: Mapping[str, str] = field(factory=dict, converter=_frozen_text)
    devices: Mapping[str, Mapping[str, str]] = field(
        factory=dict, converter=_frozen_devices
    )


@frozen
class Peer:
    """The process at the other end of a connection, as the kernel said.

    :ivar pid: its process id in the pid namespace of this process.
    :ivar uid: its effective user id, as seen from the host.
    :ivar gid: its effective group id, as seen from the host.
    :ivar pidfd: a file descriptor that names the process itself, or ``None``
        where the kernel has none to give. It belongs to the
        `devlxd.interfaces.IPeerSource` that made it.
    """

    pid: int
    uid: int
    gid: int
    pidfd: int | None = None


@frozen
class Caller:
    """What a peer turned out to be.

    :ivar container: the name of the container that it lives in.
    :ivar root: whether it is that container's root.
    """

    container: str
    root: bool
