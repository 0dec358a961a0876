# -*- test-case-name: tests.peers.test_runtimes -*-
"""How the runtimes name the cgroups of their containers."""

from __future__ import annotations

from zope.interface import implementer

from devlxd.interfaces import IRuntime


def _first_component(cgroup: str) -> str:
    """Return the component at the root of ``cgroup``, which only a host made."""
    return cgroup.lstrip("/").partition("/")[0]


@implementer(IRuntime)
class LXCRuntime:
    """LXC 4 and later, and LXD and Incus on top of it: ``/lxc.payload.NAME``."""

    def container_name(self, cgroup: str) -> str | None:
        """See `devlxd.interfaces.IRuntime.container_name`."""
        prefix, payload, name = _first_component(cgroup).partition("lxc.payload.")
        return name if payload and not prefix else None
