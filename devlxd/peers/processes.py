# -*- test-case-name: tests.peers.test_processes -*-
"""The processes of this host: ``/proc``, namespaces and pidfds."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import select
from collections.abc import Container, Generator, Hashable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from attrs import field, frozen
from zope.interface import implementer

from devlxd.interfaces import IIDMap, IProcessTable
from devlxd.model import ProcessStatus
from devlxd.peers.cgroups import parse_cgroups
from devlxd.peers.id_maps import PRIVILEGED, parse_uid_map
from devlxd.pidfds import cgroup_id_of, open_pid_namespace

#: The ioctl that opens the parent of a pid namespace (``ioctl_nsfs(2)``).
_NS_GET_PARENT = 0xB702

#: The ioctl that translates a pid of a pid namespace into the pid that this process
#: sees (``<linux/nsfs.h>``); since Linux 6.11.
_NS_GET_TGID_FROM_PIDNS = 0x8004B707

#: The number of the field ``starttime`` of ``/proc/PID/stat``, counted from 1.
_STARTTIME = 22

#: How much is read from a file in ``/proc`` at a time, in bytes. Nearly all files
#: are shorter.
_READ_SIZE = 4096

#: How deep pid namespaces can be nested (``pid_namespaces(7)``).
_MAX_LEVEL = 32


def _own_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _current_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _has_one_hierarchy() -> bool:
    """Return whether cgroup v2 is the only hierarchy of this host."""
    return Path("/proc/self/cgroup").read_bytes().count(b"\n") == 1


def _init_of(namespace: int) -> int:
    """Return the pid of a pid namespace's init.

    :param namespace: a file descriptor of the namespace.
    :return: the pid, as this process sees it; 0 if the kernel does not support this.
    """
    try:
        return fcntl.ioctl(namespace, _NS_GET_TGID_FROM_PIDNS, 1)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            return 0
        raise


@implementer(IProcessTable)
@frozen
class ProcFS:
    """The processes of this host, by ``/proc`` (``proc(5)``).

    The number of a namespace is its inode number. All namespaces are on one device:
    no two that exist at the same time have the same number. A pid namespace exists
    at least as long as its init.
    """

    _host_namespace: int = field(factory=_own_namespace)
    _boot: str = field(factory=_current_boot)
    _has_one_hierarchy: bool = field(factory=_has_one_hierarchy)

    def cgroups(self, pid: int) -> Sequence[str]:
        """See `IProcessTable.cgroups`."""
        try:
            return parse_cgroups(self._read(pid, "cgroup"))
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from error

    def pid_namespaces(self, pid: int) -> Sequence[int]:
        """See `IProcessTable.pid_namespaces`."""
        return [number for _fd, number in self._walk_from(pid)]

    def init(self, pid: int) -> int:
        """See `IProcessTable.init`.

        Before Linux 6.11 this examines all processes until it finds the init.
        """
        number = init = 0
        for fd, outer in self._walk_from(pid):
            number, init = outer, _init_of(fd)
        if not number:
            raise ProcessLookupError(
                errno.ESRCH, f"pid {pid} is in the host's pid namespace"
            )
        return init or self._search_init(number)

    def namespace_among(self, pidfd: int, namespaces: Container[int]) -> int | None:
        """See `IProcessTable.namespace_among`."""
        walk = self._walk_outwards(open_pid_namespace(pidfd))
        with closing(walk):
            for _fd, number in walk:
                if number in namespaces:
                    return number
        return None

    def _walk_from(self, pid: int) -> Iterator[tuple[int, int]]:
        """Walk outwards from the pid namespace of ``pid``."""
        path = f"/proc/{pid}/ns/pid"
        return self._walk_outwards(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def _walk_outwards(self, fd: int) -> Generator[tuple[int, int], None, None]:
        """Walk from a pid namespace to the last one below the host's.

        :param fd: a file descriptor of the namespace, which this closes.
        :return: a generator that yields, for each namespace, a file descriptor, which
            it closes at the next step, and the number of the namespace.
        """
        try:
            for _level in range(_MAX_LEVEL + 1):
                number = os.fstat(fd).st_ino
                if number == self._host_namespace:
                    return
                yield fd, number
                # This fails with EPERM if the namespace is not below that of this
                # process: then ``pid`` cannot be identified.
                parent = fcntl.ioctl(fd, _NS_GET_PARENT)
                os.close(fd)
                fd = parent
        finally:
            os.close(fd)

    def _search_init(self, namespace: int) -> int:
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            if self._is_init(pid, namespace):
                return int(pid)
        raise ProcessLookupError(errno.ESRCH, f"pid namespace {namespace} has no init")

    def _is_init(self, pid: str, namespace: int) -> bool:
        """Return whether a process is the init of a pid namespace."""
        try:
            if os.stat(f"/proc/{pid}/ns/pid").st_ino != namespace:
                return False
            status = self._read(int(pid), "status")
        except OSError:
            return False
        # A process can choose its name. The kernel escapes newlines in it, but
        # not the other characters at which str.splitlines() splits.
        for line in status.split("\n"):
            if line.startswith("NSpid:"):
                return line.split()[-1] == "1"
        return False

    def id_map(self, pid: int) -> IIDMap:
        """See `IProcessTable.id_map`.

        For a process in the user namespace of devlxd, ``uid_map`` does not contain
        the ids that devlxd sees, but those of the parent namespace
        (``user_namespaces(7)``). Such a process sees the same ids as devlxd.
        """
        own_namespace = os.stat("/proc/self/ns/user").st_ino
        if os.stat(f"/proc/{pid}/ns/user").st_ino == own_namespace:
            return PRIVILEGED
        return parse_uid_map(self._read(pid, "uid_map"))

    def status(self, pid: int) -> ProcessStatus:
        """See `IProcessTable.status`."""
        # Of several lines with the same key the first one is used. A process can
        # choose its name; the kernel escapes newlines in it, but not the other
        # characters at which str.splitlines() splits.
        fields = dict(
            line.split(":\t", 1)
            for line in reversed(self._read(pid, "status").split("\n"))
            if ":\t" in line
        )
        try:
            uid, effective_uid = map(int, fields["Uid"].split()[:2])
            parent = int(fields["PPid"])
            return ProcessStatus(parent, uid, fields["Name"], effective_uid)
        except (KeyError, ValueError) as error:
            raise OSError(errno.EINVAL, f"not a status: {error}") from error

    def started(self, pid: int) -> int:
        """See `IProcessTable.started`."""
        # The name of the process, which it can choose, is the only field in
        # parentheses. The first field behind it is the third one of all.
        fields = self._read(pid, "stat").rpartition(")")[2].split()
        try:
            return int(fields[_STARTTIME - 3])
        except (IndexError, ValueError) as error:
            raise OSError(errno.EINVAL, f"not a stat: {error}") from error

    def boot(self) -> str:
        """See `IProcessTable.boot`."""
        return self._boot

    def command_line(self, pid: int) -> str:
        """See `IProcessTable.command_line`."""
        return self._read(pid, "cmdline")

    def program(self, pid: int) -> str:
        """See `IProcessTable.program`."""
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")

    def open_pidfd(self, pid: int) -> int:
        """See `IProcessTable.open_pidfd`."""
        return os.pidfd_open(pid)

    def is_alive(self, pidfd: int) -> bool:
        """See `IProcessTable.is_alive`.

        The pidfd of a process that has ended is readable (``pidfd_open(2)``).
        """
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return not poll.poll(0)

    def cgroup_key(self, pid: int, pidfd: int) -> Hashable:
        """See `IProcessTable.cgroup_key`.

        On a host with no hierarchy but v2 it is the id of the cgroup: a cgroup cannot
        be renamed there. On other hosts, and before Linux 6.13, it is a hash of all
        paths.
        """
        cgroup_id = cgroup_id_of(pidfd) if self._has_one_hierarchy else None
        if cgroup_id is not None:
            return cgroup_id
        # A guest can make the paths long.
        return hashlib.blake2b(self._read_bytes(pid, "cgroup"), digest_size=32).digest()

    def close_pidfd(self, pidfd: int) -> None:
        """See `IProcessTable.close_pidfd`."""
        os.close(pidfd)

    def _read(self, pid: int, name: str) -> str:
        return os.fsdecode(self._read_bytes(pid, name))

    def _read_bytes(self, pid: int, name: str) -> bytes:
        # The buffering of open() would take most of the time.
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return b"".join(iter(partial(os.read, fd, _READ_SIZE), b""))
        finally:
            os.close(fd)
