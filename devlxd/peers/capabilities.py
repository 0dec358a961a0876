# -*- test-case-name: tests.peers.test_capabilities -*-
"""The capability that identifying callers needs (``capabilities(7)``)."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

#: From ``<linux/capability.h>``.
_CAP_SYS_PTRACE = 19

#: The ioctl that opens the user namespace that owns a namespace (``ioctl_nsfs(2)``).
_NS_GET_USERNS = 0xB701

_STATUS = Path("/proc/self/status")


def check_may_identify(status: Path = _STATUS) -> None:
    """Check that this process may examine the namespaces of guests' processes.

    Reading the links in ``/proc/PID/ns`` of other users' processes needs
    ``CAP_SYS_PTRACE`` (``ptrace(2)``, "Ptrace access mode checking"). Being root
    without it is not enough: a guest's process may have ids and capabilities that
    this process does not have. For the same reason this function does not try to
    read the links of some process: success with one proves nothing about others.

    The capability must be one in the user namespace of the other processes: that
    of the host, or of the container in which devlxd runs. With a user namespace of its
    own, as with systemd's ``PrivateUsers=``, a process has all capabilities there, and
    none over the others.

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
    if not _owns_pid_namespace():
        raise PermissionError(
            "devlxd is in a user namespace of its own, in which CAP_SYS_PTRACE does "
            "not let it identify callers; run it without (systemd: PrivateUsers=no)"
        )


def _owns_pid_namespace() -> bool:
    """Return whether this process's user namespace owns its pid namespace."""
    pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        owner = fcntl.ioctl(pid_namespace, _NS_GET_USERNS)
    except PermissionError:
        # It is owned by a user namespace above that of this process.
        return False
    finally:
        os.close(pid_namespace)
    try:
        return os.path.samestat(os.fstat(owner), os.stat("/proc/self/ns/user"))
    finally:
        os.close(owner)
