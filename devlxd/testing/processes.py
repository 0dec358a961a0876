# -*- test-case-name: tests.peers.test_processes -*-
"""Processes in memory."""

from __future__ import annotations

import os
from collections.abc import Container, Hashable, Sequence
from itertools import count

from attrs import define
from zope.interface import implementer

from devlxd.interfaces import IIDMap, IProcessTable
from devlxd.model import ProcessStatus
from devlxd.peers.cgroups import parse_cgroups
from devlxd.peers.id_maps import parse_uid_map


@define
class MemoryProcess:
    """A process of a `MemoryProcessTable`.

    :ivar cgroup: the text of ``/proc/PID/cgroup``.
    :ivar namespaces: its pid namespaces, from its own to the outermost one below
        the host's.
    :ivar uid_map: the text of ``/proc/PID/uid_map``.
    :ivar parent: the pid of its parent; 0 where the host cannot see the parent.
    :ivar uid: its real and effective user id on the host.
    :ivar command_line: the text of ``/proc/PID/cmdline``.
    :ivar program: the path of the program that it runs.
    :ivar started: when it was started, in clock ticks since the boot.
    """

    cgroup: str
    namespaces: Sequence[int] = ()
    uid_map: str = "0 0 4294967295"
    parent: int = 0
    uid: int = 0
    command_line: str = ""
    program: str = ""
    started: int = 0


@implementer(IProcessTable)
class MemoryProcessTable:
    """The processes of an imaginary host.

    :ivar processes: the running processes, by pid. One that is removed, or
        replaced, has ended.
    :ivar inits: the pid of the init of each pid namespace, by the namespace's number.
    :ivar pidfds: the processes of the open pidfds, by pidfd.
    :ivar boot_id: the id of the boot.
    :ivar has_pidfd_namespaces: whether the kernel returns the pid namespace of the
        process of a pidfd, as Linux 6.11 does.
    """

    def __init__(self) -> None:
        self.processes: dict[int, MemoryProcess] = {}
        self.inits: dict[int, int] = {}
        self.pidfds: dict[int, MemoryProcess] = {}
        self.boot_id = "00000000-0000-4000-8000-000000000000"
        self.has_pidfd_namespaces = True
        self._numbers = count(1000)

    def cgroups(self, pid: int) -> Sequence[str]:
        """See `IProcessTable.cgroups`."""
        return parse_cgroups(self._process(pid).cgroup)

    def pid_namespaces(self, pid: int) -> Sequence[int]:
        """See `IProcessTable.pid_namespaces`."""
        return list(self._process(pid).namespaces)

    def init(self, pid: int) -> int:
        """See `IProcessTable.init`."""
        namespaces = self.pid_namespaces(pid)
        if not namespaces or namespaces[-1] not in self.inits:
            raise ProcessLookupError(f"pid {pid} has no init")
        return self.inits[namespaces[-1]]

    def id_map(self, pid: int) -> IIDMap:
        """See `IProcessTable.id_map`."""
        return parse_uid_map(self._process(pid).uid_map)

    def status(self, pid: int) -> ProcessStatus:
        """See `IProcessTable.status`."""
        process = self._process(pid)
        name = os.path.basename(process.program)
        return ProcessStatus(process.parent, process.uid, name, process.uid)

    def started(self, pid: int) -> int:
        """See `IProcessTable.started`."""
        return self._process(pid).started

    def boot(self) -> str:
        """See `IProcessTable.boot`."""
        return self.boot_id

    def command_line(self, pid: int) -> str:
        """See `IProcessTable.command_line`."""
        return self._process(pid).command_line

    def program(self, pid: int) -> str:
        """See `IProcessTable.program`."""
        return self._process(pid).program

    def open_pidfd(self, pid: int) -> int:
        """See `IProcessTable.open_pidfd`."""
        process = self._process(pid)
        pidfd = next(self._numbers)
        self.pidfds[pidfd] = process
        return pidfd

    def is_alive(self, pidfd: int) -> bool:
        """See `IProcessTable.is_alive`."""
        return any(self.pidfds[pidfd] is running for running in self.processes.values())

    def cgroup_key(self, pid: int, pidfd: int) -> Hashable:
        """See `IProcessTable.cgroup_key`: the text with the paths."""
        return self._alive(pidfd).cgroup

    def namespace_among(self, pidfd: int, namespaces: Container[int]) -> int | None:
        """See `IProcessTable.namespace_among`."""
        if not self.has_pidfd_namespaces:
            raise OSError("this kernel does not return the namespace")
        own = self._alive(pidfd).namespaces
        return next((number for number in own if number in namespaces), None)

    def _alive(self, pidfd: int) -> MemoryProcess:
        if not self.is_alive(pidfd):
            raise ProcessLookupError(f"the process of {pidfd} has ended")
        return self.pidfds[pidfd]

    def close_pidfd(self, pidfd: int) -> None:
        """See `IProcessTable.close_pidfd`."""
        del self.pidfds[pidfd]

    def _process(self, pid: int) -> MemoryProcess:
        if pid not in self.processes:
            raise ProcessLookupError(f"no process {pid}")
        return self.processes[pid]
