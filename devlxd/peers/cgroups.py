# -*- test-case-name: tests.peers.test_cgroups -*-
"""The format of ``/proc/PID/cgroup``."""

from __future__ import annotations

from collections.abc import Sequence


def parse_cgroups(text: str) -> Sequence[str]:
    r"""Return the paths in ``/proc/PID/cgroup``, one for each hierarchy.

    With cgroup v2 there is one line, ``0::PATH``. With v1 there is one line,
    ``ID:CONTROLLERS:PATH``, for each hierarchy. A hybrid host has both
    (``cgroups(7)``).

    Only ``\n`` ends a line: the kernel forbids it in the names of cgroups. Guests
    may use all other characters at which `str.splitlines` splits.

    :raises ValueError: if ``text`` has another format.
    """
    paths = []
    for line in text.removesuffix("\n").split("\n"):
        _hierarchy, _controllers, path = line.split(":", 2)
        paths.append(path)
    return paths
