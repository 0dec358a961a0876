# -*- test-case-name: tests.peers.test_cgroups -*-
"""The text of ``/proc/PID/cgroup``."""

from __future__ import annotations

from collections.abc import Iterator


def parse_cgroups(text: str) -> Iterator[str]:
    """Read the paths off ``/proc/PID/cgroup``, one for each hierarchy.

    A host with cgroup v2 has one, ``0::/path``; with v1 it has one for each
    ``N:controllers:/path``; a hybrid host has both (``cgroups(7)``).

    The kernel forbids newlines in the names of cgroups and nothing else: what
    else Python takes for the end of a line, a guest may have put there.

    :raises ValueError: when it is something else.
    """
    for line in text.removesuffix("\n").split("\n"):
        _hierarchy, _controllers, path = line.split(":", 2)
        yield path
