# -*- test-case-name: tests.peers.test_runtimes -*-
"""How the runtimes name the cgroups of their containers.

Each path is read from its root, where only the host's root can make a cgroup.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from attrs import field, frozen
from twisted.plugin import getPlugins
from zope.interface import implementer

from devlxd.interfaces import IMonitoredRuntime, IRuntime, NotInContainer
from devlxd.model import Claim, Monitor, is_container_name

#: What systemd writes for a character that a unit's name cannot have.
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def _pattern(prefix: str, what: str, suffix: str = "") -> re.Pattern[str]:
    """Compile what a path must start with, whole components of it."""
    return re.compile(rf"{prefix}({what}){suffix}(?:/.*)?", re.DOTALL)


#: What LXC's monitor writes over its command line.
_TITLE = re.compile(r"\[lxc monitor\] ([^\0]+) ([^\0 ]+)\0*", re.DOTALL)

#: How long LXC lets that become, and cuts off the rest; lxccontainer.c.
_TITLE_SIZE = 2048

#: What stands before a name in a command line of ``lxc-start(1)``.
_NAME_OPTION = re.compile(r"--name=|-[a-zA-Z]*n")

#: The programs that LXC's monitor is part of, and what they belong to.
_PROGRAMS = {"lxd": "lxd", "incusd": "incus"}


@implementer(IMonitoredRuntime)
@frozen
class LXCRuntime:
    """LXC 4 and later, and LXD and Incus on top of it: ``/lxc.payload.NAME``.

    NAME is ``PROJECT_NAME`` for a container in another project than the
    default one. While there is such a cgroup already, as after an unclean
    stop, LXC takes ``/lxc.payload.NAME-1``, ``-2`` and so on. What the
    container is called its monitor says, which writes ``[lxc monitor] LXCPATH
    NAME`` over its command line unless it runs in the foreground.
    """

    name = "lxc"
    _payload: re.Pattern[str] = field(default=_pattern(r"/lxc\.payload\.", "[^/]+"))

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`."""
        match = self._payload.fullmatch(cgroup)
        return Claim(name=match[1]) if match and is_container_name(match[1]) else None

    def confirm(self, claim: Claim, monitor: Monitor) -> Claim:
        """See `IMonitoredRuntime.confirm`."""
        if not any(c.startswith("/lxc.monitor.") for c in monitor.cgroups):
            # The monitor was killed and the init has outlived it, or it is a
            # process of a container that is in the host's pid namespace.
            raise NotInContainer("the parent of its init is no monitor", "monitor")
        names = _names_with_cgroup(claim.name)
        title = _TITLE.fullmatch(monitor.command)
        if title and len(monitor.command) < _TITLE_SIZE:
            lxcpath, name = title.groups()
            if name not in names:
                raise NotInContainer(
                    f"its cgroup is of {claim}, its monitor of another", "monitor"
                )
            program = os.path.basename(monitor.program)
            return Claim(name, "", _PROGRAMS.get(program, self.name), lxcpath)
        return self._confirm_untitled(names, monitor)

    def _confirm_untitled(self, names: Sequence[str], monitor: Monitor) -> Claim:
        """Find out whose a run is whose monitor has no title.

        :param names: the containers that may have its cgroup.
        """
        if os.path.basename(monitor.program) == "lxc-start":
            words = monitor.command.split("\0")[1:]
            given = {_NAME_OPTION.sub("", word, count=1) for word in words}
            named = [name for name in names if name in given]
            if len(named) == 1:
                return Claim(named[0], runtime=self.name)
        elif len(names) == 1:
            return Claim(names[0])
        raise NotInContainer(
            f"its cgroup may be of {' or '.join(names)}, and its monitor does not "
            "say which",
            "monitor",
        )


def _names_with_cgroup(name: str) -> Sequence[str]:
    """Return the containers that LXC may give the cgroup of ``name``."""
    numbered = re.fullmatch(r"(.+)-[0-9]+", name)
    return (name, numbered[1]) if numbered else (name,)


@implementer(IRuntime)
@frozen
class NspawnRuntime:
    """systemd-nspawn: ``/machine.slice/machine-NAME.scope``.

    Started by ``machinectl start``, it is
    ``/machine.slice/systemd-nspawn@NAME.service``.
    """

    name = "nspawn"
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
    """podman or docker, as the host's root runs them: named by an id.

    :ivar name: which of the two.
    :ivar scopes: its cgroups, with systemd and without.
    """

    name: str
    scopes: Sequence[re.Pattern[str]]

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`."""
        for scope in self.scopes:
            match = scope.fullmatch(cgroup)
            if match:
                return Claim(id=match[1])
        return None


#: ``/machine.slice/libpod-ID.scope`` and ``/libpod_parent/libpod-ID``.
PODMAN = OCIRuntime(
    "podman",
    (
        _pattern(r"/machine\.slice/libpod-", "[0-9a-f]{64}", r"\.scope"),
        _pattern(r"/libpod_parent/libpod-", "[0-9a-f]{64}"),
    ),
)

#: ``/system.slice/docker-ID.scope`` and ``/docker/ID``.
DOCKER = OCIRuntime(
    "docker",
    (
        _pattern(r"/system\.slice/docker-", "[0-9a-f]{64}", r"\.scope"),
        _pattern(r"/docker/", "[0-9a-f]{64}"),
    ),
)


def known_runtimes() -> Sequence[IRuntime]:
    """Return the built-in runtimes, and those that are Twisted plugins."""
    return LXCRuntime(), NspawnRuntime(), PODMAN, DOCKER, *getPlugins(IRuntime)
