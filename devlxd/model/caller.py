# -*- test-case-name: tests.test_model -*-
"""Peers, callers, and facts about processes."""

from __future__ import annotations

from attrs import field, frozen


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
class Init:
    """The init of a run: the process by which a later devlxd recognizes the run.

    No two processes of a host have all three in common. The kernel gives a pid to a
    new process only when no running process has it, and after all other free pids:
    a later process with the same pid was started at another time. Both are those of
    one boot, and each boot has another id.

    A guest can choose none of them: a process chooses pids in namespaces below that
    of devlxd only (``clone3(2)``, ``set_tid``), and no process can choose the time
    of its start.

    :ivar pid: its process id in the pid namespace of devlxd.
    :ivar started: when it was started, in clock ticks since the boot: ``starttime``
        in ``proc_pid_stat(5)``.
    :ivar boot: the id of the boot, a random UUID:
        ``/proc/sys/kernel/random/boot_id`` (``random(4)``).
    """

    pid: int
    started: int
    boot: str


@frozen
class Caller:
    """The container and the user that a peer was identified as.

    :ivar container: the name of its container.
    :ivar uid: its user id inside that container, 0 for root; ``None`` for a user
        of the host that has no id there.
    :ivar run: the number of the container's run. When that run ends, each
        `devlxd.interfaces.IRunObserver` is called with this number.
    :ivar init: the init of that run; ``None`` where the identifier does not know it.
    """

    container: str
    uid: int | None
    run: int = 0
    init: Init | None = field(default=None, repr=False)


@frozen
class ProcessStatus:
    """Facts of ``/proc/PID/status`` (``proc_pid_status(5)``).

    :ivar parent: the pid of its parent; 0 where devlxd cannot see the parent.
    :ivar uid: its real user id, as devlxd sees it.
    :ivar name: its own name, up to 15 bytes. The process can choose it.
    :ivar effective_uid: its effective user id, as devlxd sees it.
    """

    parent: int
    uid: int
    name: str
    effective_uid: int


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
