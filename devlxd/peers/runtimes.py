# -*- test-case-name: tests.peers.test_runtimes -*-
"""How the runtimes name the cgroups of their containers.

Each path is read from its root, where only the host's root can make a cgroup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import field, frozen
from twisted.plugin import getPlugins
from zope.interface import implementer

from devlxd.interfaces import IRuntime
from devlxd.model import Claim, is_container_name

#: What systemd writes for a character that a unit's name cannot have.
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def _pattern(prefix: str, what: str, suffix: str = "") -> re.Pattern[str]:
    """Compile what a path must start with, whole components of it."""
    return re.compile(rf"{prefix}({what}){suffix}(?:/.*)?", re.DOTALL)


@implementer(IRuntime)
@frozen
class LXCRuntime:
    """LXC 4 and later, and LXD and Incus on top of it: ``/lxc.payload.NAME``.

    NAME is ``PROJECT_NAME`` for a container in another project than the
    default one.
    """

    _payload: re.Pattern[str] = field(default=_pattern(r"/lxc\.payload\.", "[^/]+"))

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`."""
        match = self._payload.fullmatch(cgroup)
        return Claim(name=match[1]) if match and is_container_name(match[1]) else None


@implementer(IRuntime)
@frozen
class NspawnRuntime:
    """systemd-nspawn: ``/machine.slice/machine-NAME.scope``.

    Started by ``machinectl start``, it is
    ``/machine.slice/systemd-nspawn@NAME.service``.
    """

    _units: Sequence[re.Pattern[str]] = (
        _pattern(r"/machine\.slice/machine-", "[^/]+", r"\.scope"),
        _pattern(r"/machine\.slice/systemd-nspawn@", "[^/]+", r"\.service"),
    )

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`."""
        for unit in self._units:
            match = unit.fullmatch(cgroup)
            if match:
                name = _unescaped(match[1])
                return Claim(name=name) if is_container_name(name) else None
        return None


def _unescaped(name: str) -> str:
    """Undo ``systemd-escape(1)``; a plain ``-`` stands for ``/`` there."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name.replace("-", "/"))


@implementer(IRuntime)
@frozen
class OCIRuntime:
    """podman and docker, as the host's root runs them: named by an id.

    With systemd's cgroups or without: ``/machine.slice/libpod-ID.scope`` and
    ``/libpod_parent/libpod-ID``, ``/system.slice/docker-ID.scope`` and
    ``/docker/ID``.
    """

    _scopes: Sequence[re.Pattern[str]] = (
        _pattern(r"/machine\.slice/libpod-", "[0-9a-f]{64}", r"\.scope"),
        _pattern(r"/libpod_parent/libpod-", "[0-9a-f]{64}"),
        _pattern(r"/system\.slice/docker-", "[0-9a-f]{64}", r"\.scope"),
        _pattern(r"/docker/", "[0-9a-f]{64}"),
    )

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`."""
        for scope in self._scopes:
            match = scope.fullmatch(cgroup)
            if match:
                return Claim(id=match[1])
        return None


def known_runtimes() -> Sequence[IRuntime]:
    """Return the built-in runtimes, and those that are Twisted plugins."""
    return LXCRuntime(), NspawnRuntime(), OCIRuntime(), *getPlugins(IRuntime)
