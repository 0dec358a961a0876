# -*- test-case-name: tests.peers.test_capabilities -*-
"""The capability that identifying callers needs (``capabilities(7)``)."""

from __future__ import annotations

import re
from pathlib import Path

#: From ``<linux/capability.h>``.
_CAP_SYS_PTRACE = 19

_STATUS = Path("/proc/self/status")


def check_may_identify(status: Path = _STATUS) -> None:
    """Check that this process may examine the namespaces of guests' processes.

    Reading the links in ``/proc/PID/ns`` of other users' processes needs
    ``CAP_SYS_PTRACE`` (``ptrace(2)``, "Ptrace access mode checking"). Being root
    without it is not enough: a guest's process may have ids and capabilities that
    this process does not have. For the same reason this function does not try to
    read the links of some process: success with one proves nothing about others.

    :param status: the file ``/proc/PID/status`` of this process
        (``proc_pid_status(5)``).
    :raises PermissionError: if the capability is missing; its text is one
        line for the operator.
    """
    effective = re.search(r"^CapEff:\t([0-9a-f]+)$", status.read_text(), re.MULTILINE)
    if effective is None or not int(effective[1], 16) & 1 << _CAP_SYS_PTRACE:
        raise PermissionError(
            "CAP_SYS_PTRACE is missing: devlxd cannot identify callers without it; "
            "run devlxd as root, or give it that capability"
        )
