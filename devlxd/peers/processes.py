# -*- test-case-name: tests.peers.test_processes -*-
"""What the kernel says of processes: ``/proc``, namespaces, pidfds."""

from __future__ import annotations

import errno
import fcntl
import os
import select
from collections.abc import Iterator, Sequence
from functools import partial

from attrs import field, frozen
from zope.interface import implementer

from devlxd.interfaces import IIDMap, IProcessTable
from devlxd.model import ProcessStatus
from devlxd.peers.cgroups import parse_cgroups
from devlxd.peers.id_maps import PRIVILEGED, parse_uid_map

# From <linux/nsfs.h>.

#: A file descriptor of the parent of a pid namespace.
_NS_GET_PARENT = 0xB702

#: The process that has a pid in a pid namespace, since Linux 6.11.
_NS_GET_TGID_FROM_PIDNS = 0x8004B707

#: How much is read at a time, in bytes; nearly always that is all.
_READ_SIZE = 4096

#: How deep the kernel lets pid namespaces nest.
_MAX_LEVEL = 32


def _own_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _init_of(namespace: int) -> int:
    """Ask the kernel for the init of a pid namespace; 0 where it cannot say."""
    try:
        return fcntl.ioctl(namespace, _NS_GET_TGID_FROM_PIDNS, 1)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            return 0
        raise


@implementer(IProcessTable)
@frozen
class ProcFS:
    """Asks ``/proc`` and the kernel behind it.

    A namespace's number is that of its inode; as nsfs has but one device and
    a namespace lives as long as its init, two that live never share one.
    """

    _host: int = field(factory=_own_namespace)

    def cgroups(self, pid: int) -> Sequence[str]:
        """See `IProcessTable.cgroups`."""
        try:
            return list(parse_cgroups(self._read(pid, "cgroup")))
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from error

    def pid_namespaces(self, pid: int) -> Sequence[int]:
        """See `IProcessTable.pid_namespaces`."""
        return [number for _fd, number in self._upwards(pid)]

    def init(self, pid: int) -> int:
        """See `IProcessTable.init`."""
        number = init = 0
        for fd, outer in self._upwards(pid):
            number, init = outer, _init_of(fd)
        if not number:
            raise ProcessLookupError(errno.ESRCH, f"pid {pid} is the host's")
        return init or self._search_init(number)

    def _upwards(self, pid: int) -> Iterator[tuple[int, int]]:
        """Walk from the pid namespace of ``pid`` up to the host's.

        :return: a file descriptor, open for one step, and the number of each.
        """
        fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for _level in range(_MAX_LEVEL + 1):
                number = os.fstat(fd).st_ino
                if number == self._host:
                    return
                yield fd, number
                # EPERM where the parent is none of ours: such a process is
                # not below this host, and cannot be placed.
                parent = fcntl.ioctl(fd, _NS_GET_PARENT)
                os.close(fd)
                fd = parent
        finally:
            os.close(fd)

    def _search_init(self, number: int) -> int:
        """Look through all processes, where the kernel cannot be asked."""
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            if self._is_init(pid, number):
                return int(pid)
        raise ProcessLookupError(errno.ESRCH, f"pid namespace {number} has no init")

    def _is_init(self, pid: str, number: int) -> bool:
        try:
            if os.stat(f"/proc/{pid}/ns/pid").st_ino != number:
                return False
            status = self._read(int(pid), "status")
        except OSError:
            return False
        # Its name stands in it too, in which the kernel escapes newlines only.
        for line in status.split("\n"):
            if line.startswith("NSpid:"):
                return line.split()[-1] == "1"
        return False

    def id_map(self, pid: int) -> IIDMap:
        """See `IProcessTable.id_map`.

        A process reads another map of its own user namespace than of the
        others: what its ids are in the parent (``user_namespaces(7)``).
        """
        own = os.stat("/proc/self/ns/user").st_ino
        if os.stat(f"/proc/{pid}/ns/user").st_ino == own:
            return PRIVILEGED
        return parse_uid_map(self._read(pid, "uid_map"))

    def status(self, pid: int) -> ProcessStatus:
        """See `IProcessTable.status`."""
        # The name comes first, in which the kernel escapes newlines only.
        fields = dict(
            line.split(":\t", 1)
            for line in reversed(self._read(pid, "status").split("\n"))
            if ":\t" in line
        )
        try:
            uid = int(fields["Uid"].split()[0])
            return ProcessStatus(int(fields["PPid"]), uid, fields["Name"])
        except (KeyError, ValueError, IndexError) as error:
            raise OSError(errno.EINVAL, f"not a status: {error}") from error

    def command(self, pid: int) -> str:
        """See `IProcessTable.command`."""
        return self._read(pid, "cmdline")

    def program(self, pid: int) -> str:
        """See `IProcessTable.program`."""
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")

    def hold(self, pid: int) -> int:
        """See `IProcessTable.hold`."""
        return os.pidfd_open(pid)

    def is_alive(self, pidfd: int) -> bool:
        """See `IProcessTable.is_alive`: a pidfd can be read when it has ended."""
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return not poll.poll(0)

    def let_go(self, pidfd: int) -> None:
        """See `IProcessTable.let_go`."""
        os.close(pidfd)

    def _read(self, pid: int, name: str) -> str:
        # Without the layers of open(), which would take most of the time.
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.fsdecode(b"".join(iter(partial(os.read, fd, _READ_SIZE), b"")))
        finally:
            os.close(fd)
