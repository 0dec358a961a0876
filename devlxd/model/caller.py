# -*- test-case-name: tests.test_model -*-
"""Peers, callers, and facts about processes."""

from __future__ import annotations

from attrs import frozen


@frozen
class Peer:
    """The process at the other end of a connection, as the kernel knows it.

    :ivar pid: its process id in the pid namespace of devlxd.
    :ivar uid: its effective user id on the host.
    :ivar gid: its effective group id on the host.
    :ivar pidfd: a file descriptor of the process (``pidfd_open(2)``). It belongs
        to the `devlxd.interfaces.IPeerSource`, which closes it. ``None`` where
        the process is not known.
    """

    pid: int
    uid: int
    gid: int
    pidfd: int | None = None


@frozen
class Caller:
    """The container and the user that a peer was identified as.

    :ivar container: the name of its container.
    :ivar uid: its user id inside that container, 0 for root; ``None`` for a user
        of the host that has no id there.
    :ivar run: the number of the container's run. When that run ends, each
        `devlxd.interfaces.IRunObserver` is called with this number.
    """

    container: str
    uid: int | None
    run: int = 0


@frozen
class ProcessStatus:
    """Facts of ``/proc/PID/status`` (``proc_pid_status(5)``).

    :ivar parent: the pid of its parent; 0 where devlxd cannot see the parent.
    :ivar uid: its real user id, as devlxd sees it.
    :ivar name: its own name, up to 15 bytes. The process can choose it.
    """

    parent: int
    uid: int
    name: str


@frozen
class Monitor:
    """The monitor of a container: the parent of its init, run by the host's root.

    :ivar program: the path of the program that it runs.
    :ivar command_line: its command line, with NUL after each argument. The
        monitor may have replaced it by a title (``setproctitle``).
    :ivar cgroups: the paths of its cgroups.
    """

    program: str
    command_line: str
    cgroups: tuple[str, ...]


@frozen
class Claim:
    """The container that a cgroup, or a run, belongs to, as its runtime names it.

    A claim has either a name or an id.

    :ivar name: the name of the container.
    :ivar id: the id of the container.
    :ivar runtime: the name of the runtime that started it; empty where it is not
        known.
    :ivar lxcpath: the LXC path from which it was started; empty where it is not
        known, or there is none.
    """

    name: str = ""
    id: str = ""
    runtime: str = ""
    lxcpath: str = ""

    def __str__(self) -> str:
        """Return the name or the id, for the log."""
        return self.name or f"id {self.id}"
