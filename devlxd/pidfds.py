# -*- test-case-name: tests.peers.test_processes -*-
"""Facts that the kernel returns about the process of a pidfd (``pidfd_open(2)``).

A pidfd always stands for the same process, also when that has ended: its facts are
never those of a later process with the same pid.
"""

from __future__ import annotations

import errno
import fcntl
import struct

#: ``PIDFD_GET_INFO`` of ``<linux/pidfd.h>``, since Linux 6.13. The first fields
#: of its 64 bytes are a mask of the requested facts and the id of the cgroup.
_GET_INFO = 0xC040FF0B
_INFO = struct.Struct("=QQ")
_INFO_CGROUP_ID = 1 << 2
_REQUEST = struct.pack("=Q56x", _INFO_CGROUP_ID)

#: ``PIDFD_GET_PID_NAMESPACE`` of ``<linux/pidfd.h>``, since Linux 6.11.
_GET_PID_NAMESPACE = 0xFF05

#: The errors of a kernel that does not know a request.
_UNKNOWN_REQUEST = frozenset((errno.ENOTTY, errno.EINVAL))


def cgroup_id_of(pidfd: int) -> int | None:
    """Return the id of the cgroup of a process, in the hierarchy of cgroup v2.

    It is the number of the cgroup's directory. The kernel gives each id once.

    :return: ``None`` before Linux 6.13.
    :raises OSError: if the process has ended, and its parent has been notified.
    """
    info = bytearray(_REQUEST)
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError as error:
        if error.errno in _UNKNOWN_REQUEST:
            return None
        raise
    mask, cgroup_id = _INFO.unpack_from(info)
    return cgroup_id if mask & _INFO_CGROUP_ID else None


def open_pid_namespace(pidfd: int) -> int:
    """Return a new file descriptor of the pid namespace of a process.

    :raises OSError: if the process has ended; before Linux 6.11; without
        ``CAP_SYS_PTRACE`` over the process.
    """
    return fcntl.ioctl(pidfd, _GET_PID_NAMESPACE)
