# -*- test-case-name: tests.peers.test_runtimes -*-
"""The container runtimes, and the names of their cgroups.

Each pattern matches a path from the root of its hierarchy: only the host's root can
create a cgroup there.
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

#: A character of a unit's name that systemd has escaped (``systemd.unit(5)``).
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")

#: The title that LXC's monitor writes over its command line: LXC path and name.
_TITLE = re.compile(r"\[lxc monitor\] ([^\0]+) ([^\0 ]+)\0*", re.DOTALL)

#: The maximum length of that title, in characters. LXC cuts off longer ones
#: (``lxccontainer.c``).
_TITLE_SIZE = 2048

#: The option of ``lxc-start(1)`` that may precede the container's name in the same
#: word of the command line.
_NAME_OPTION = re.compile(r"--name=|-[a-zA-Z]*n")

#: The runtime, by the name of the program in which LXC's monitor runs. All other
#: programs belong to LXC itself.
_PROGRAMS = {"lxd": "lxd", "incusd": "incus"}


def _pattern(prefix: str, name: str, suffix: str = "") -> re.Pattern[str]:
    """Compile a pattern that matches a cgroup and all cgroups below it.

    All three arguments are regular expressions. ``name`` becomes a group.
    """
    return re.compile(rf"{prefix}({name}){suffix}(?:/.*)?", re.DOTALL)


@implementer(IMonitoredRuntime)
@frozen
class LXCRuntime:
    """LXC since 4.0, and LXD and Incus, which use it: ``/lxc.payload.NAME``.

    For a container in an LXD project other than the default one, NAME is the name
    of the project, an underscore, and the name of the container.

    LXC uses ``/lxc.payload.NAME-1``, ``-2`` and so on if ``/lxc.payload.NAME`` still
    exists, for example after an unclean stop. Therefore the name is taken from the
    monitor. Unless it runs in the foreground, the monitor writes
    ``[lxc monitor] LXCPATH NAME`` over its command line.
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
            # Either the init has outlived a killed monitor, or its parent is a
            # process of a container that shares the host's pid namespace.
            raise NotInContainer("the parent of its init is not a monitor", "monitor")
        names = _names_with_cgroup(claim.name)
        title = _TITLE.fullmatch(monitor.command_line)
        if title and len(monitor.command_line) < _TITLE_SIZE:
            lxcpath, name = title.groups()
            if name not in names:
                raise NotInContainer(
                    f"it is in the cgroup of {claim}, but its monitor is that of "
                    "another container",
                    "monitor",
                )
            program = os.path.basename(monitor.program)
            return Claim(name, "", _PROGRAMS.get(program, self.name), lxcpath)
        return self._confirm_untitled(names, monitor)

    def _confirm_untitled(self, names: Sequence[str], monitor: Monitor) -> Claim:
        """Return the container of a monitor without a title.

        :param names: the containers that may have the cgroup.
        """
        if os.path.basename(monitor.program) == "lxc-start":
            words = monitor.command_line.split("\0")[1:]
            values = {_NAME_OPTION.sub("", word, count=1) for word in words}
            named = [name for name in names if name in values]
            if len(named) == 1:
                return Claim(named[0], runtime=self.name)
        elif len(names) == 1:
            return Claim(names[0])
        raise NotInContainer(
            f"its cgroup may be that of {' or '.join(names)}, and its monitor does "
            "not say which",
            "monitor",
        )


def _names_with_cgroup(name: str) -> Sequence[str]:
    """Return the names of the containers that may have ``/lxc.payload.{name}``."""
    numbered = re.fullmatch(r"(.+)-[0-9]+", name)
    return (name, numbered[1]) if numbered else (name,)


@implementer(IRuntime)
@frozen
class NspawnRuntime:
    """systemd-nspawn: ``/machine.slice/machine-NAME.scope``.

    A container that was started by ``machinectl start`` has the cgroup
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
                name = _unescape(match[1])
                return Claim(name=name) if is_container_name(name) else None
        return None


def _unescape(name: str) -> str:
    """Undo ``systemd-escape(1)``; a plain ``-`` is a ``/``."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name.replace("-", "/"))


@implementer(IRuntime)
@frozen
class OCIRuntime:
    """podman or docker, run by the host's root: the cgroups have the container's id.

    :ivar name: the name of the runtime.
    :ivar cgroups: the patterns of its cgroups: with systemd, and without.
    """

    name: str
    cgroups: Sequence[re.Pattern[str]]

    def claim(self, cgroup: str) -> Claim | None:
        """See `IRuntime.claim`."""
        for pattern in self.cgroups:
            match = pattern.fullmatch(cgroup)
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
    """Return the built-in runtimes, and those of Twisted plugins."""
    return LXCRuntime(), NspawnRuntime(), PODMAN, DOCKER, *getPlugins(IRuntime)
