"""Seams of who asks: peers, processes, runtimes and callers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager

from twisted.internet.interfaces import (
    ITransport,
)
from zope.interface import Attribute, Interface

from devlxd.model import (
    Caller,
    Claim,
    Monitor,
    Peer,
    ProcessStatus,
)


class NotInContainer(Exception):
    """The peer cannot be placed; the text says why, for the log only.

    :ivar kind: whose limit of log lines this counts against: the container or
        cgroup and the reason, without what each process says anew.
    """

    def __init__(self, reason: str, kind: Hashable = None) -> None:
        super().__init__(reason)
        self.kind = kind


class IPeerSource(Interface):
    """What the kernel says of the other end of a connection."""

    def hold(transport: ITransport) -> AbstractContextManager[Peer]:
        """Ask who is at the other end of ``transport``.

        The peer's ``pidfd`` is open inside the ``with`` block and nowhere else.

        :raises NotInContainer: on entering the block, when the transport
            cannot tell.
        """


class ICallerIdentifier(Interface):
    """Who finds out what a peer is."""

    def identify(peer: Peer) -> Caller:
        """Find the container that ``peer`` lives in.

        :raises NotInContainer: when it cannot be placed, or any doubt remains.
        """

    def watch(observer: IRunObserver) -> None:
        """Tell ``observer`` of each run that ends from now on."""

    def unwatch(observer: IRunObserver) -> None:
        """Tell ``observer`` of nothing any more.

        :raises ValueError: when it does not watch.
        """


class IRunObserver(Interface):
    """Who hears of ended runs of containers."""

    def ended(run: int) -> None:
        """Hear that the run ``run`` of a container is over.

        Whoever was a caller of it is nobody any more.
        """


class IProcessTable(Interface):
    """What the host's kernel says of processes; every method may be slow once.

    Each raises `OSError` when the process is gone, or may not be looked at.
    """

    def cgroups(pid: int) -> Sequence[str]:
        """Return the paths of the cgroups of ``pid``, one for each hierarchy."""

    def pid_namespaces(pid: int) -> Sequence[int]:
        """Return the pid namespaces that ``pid`` lives in, by their numbers.

        :return: from its own to the outermost below the host's; empty for a
            process of the host.
        """

    def init(pid: int) -> int:
        """Return the process that is pid 1 of ``pid``'s outermost namespace."""

    def id_map(pid: int) -> IIDMap:
        """Return how ``pid``'s user namespace maps the uids that we see."""

    def status(pid: int) -> ProcessStatus:
        """Return what the kernel says of ``pid``, and nobody can make up."""

    def command(pid: int) -> str:
        """Return the command line of ``pid``, a NUL after each word.

        Ask it of the host's own processes only: it is read from the memory of
        ``pid``, which can keep the reader waiting for ever.
        """

    def program(pid: int) -> str:
        """Return the path of the program that ``pid`` runs."""

    def hold(pid: int) -> int:
        """Return a new pidfd of ``pid``, for the caller to close."""

    def is_alive(pidfd: int) -> bool:
        """Tell whether the process that ``pidfd`` names has not ended."""

    def let_go(pidfd: int) -> None:
        """Close ``pidfd``."""


class IIDMap(Interface):
    """Which ids inside a container are which on the host."""

    def inside(host_id: int) -> int | None:
        """Return the id inside of ``host_id``; ``None`` if it has none."""


class IRuntime(Interface):
    """How one runtime names the cgroups of its containers.

    A Twisted plugin that provides this, and `twisted.plugin.IPlugin`, is asked
    as the built-in ones are.
    """

    name: str = Attribute(
        "What documents call it (``runtime:``). A plugin need not have one; no "
        "document can ask for its containers then."
    )

    def claim(cgroup: str) -> Claim | None:
        """Read off the path of a cgroup whose it is.

        Only what the host's root can have made may count: a path has to be
        read from its root, as everything below a container's own cgroup is
        the guest's to choose, and everything below ``user.slice`` some user's.

        :param cgroup: a path as in ``/proc/PID/cgroup``, for example
            ``/lxc.payload.c1/init.scope``.
        :return: ``None`` where this runtime made no such cgroup.
        """


class IMonitoredRuntime(IRuntime):
    """A runtime whose cgroups do not tell for sure whose they are.

    It is asked once for each run of a container, when the run's init is first
    seen.
    """

    def confirm(claim: Claim, monitor: Monitor) -> Claim:
        """Find out whose a run is that has one of this runtime's cgroups.

        :param claim: whose the cgroup of its init seems to be.
        :param monitor: the parent of its init; no guest can make such a
            process, nor choose its command line.
        :return: whose it is, with the runtime, and the LXC path if there is one.
        :raises NotInContainer: when the two contradict each other, or leave a
            doubt.
        """
