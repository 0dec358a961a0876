"""The interfaces of `devlxd.peers`: peers, callers, runtimes and processes."""

from __future__ import annotations

from collections.abc import Container, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType

from twisted.internet.interfaces import ITransport
from zope.interface import Attribute, Interface

from devlxd.model import (
    Caller,
    Claim,
    Init,
    Monitor,
    Peer,
    ProcessStatus,
)


class NotInContainer(Exception):
    """Raised when a peer cannot be identified as a process of a container.

    The text is the reason. It is for the log only, never for a guest.

    :ivar kind: the kind of the refusal; the number of log lines of each kind is
        limited. It contains the kind of the reason and the container, or the top cgroup
        if there is no container, but nothing that a guest can vary.
    :ivar facts: what is known about the peer, for the log: its ``pid``, ``uid``,
        ``command`` and ``cgroup``, as far as they are known; printable.
    """

    def __init__(
        self,
        reason: str,
        kind: Hashable = None,
        facts: Mapping[str, str | int] = MappingProxyType({}),
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.facts = facts


class IAcceptedTransport(ITransport):
    """The transport of a connection whose peer was found when it was accepted."""

    accepted_peer: Peer | None = Attribute(
        "The peer, which never changes, while its pidfd is open; otherwise ``None``."
    )


class IPeerSource(Interface):
    """A source of peers, the processes at the other ends of connections."""

    def open_peer(transport: ITransport) -> AbstractContextManager[Peer]:
        """Return a context manager for the peer of a connection.

        The ``pidfd`` of the peer is open inside the ``with`` block only.

        :raises NotInContainer: on entering the block, when the peer of
            ``transport`` is not known.
        """


class ICallerIdentifier(Interface):
    """The identification of peers as processes of containers."""

    def identify(peer: Peer) -> Caller:
        """Return the container and the user of ``peer``.

        :param peer: a peer whose ``pidfd`` is open.
        :raises NotInContainer: if it is not certain which container ``peer`` belongs
            to.
        """

    def watch(observer: IRunObserver) -> None:
        """Notify ``observer`` of each run of a container that ends from now on."""

    def unwatch(observer: IRunObserver) -> None:
        """Stop notifying ``observer``.

        :raises ValueError: if ``observer`` is not being notified.
        """


class IRunIdentifier(ICallerIdentifier):
    """An identifier that recognizes a run which an earlier process has identified.

    Its callers have an `devlxd.model.Caller.init`.
    """

    def caller_of(init: Init) -> Caller:
        """Return root of the run with this init.

        All that `identify` checks is checked. From now on the observers are notified
        of the end of the run, as after `identify`.

        :param init: the `devlxd.model.Caller.init` of an earlier caller, which
            another process may have identified.
        :return: a caller with uid 0.
        :raises NotInContainer: if ``init`` has ended, is of another boot, is now
            another process, or can no longer be identified.
        """


class IRunObserver(Interface):
    """An observer that is notified when a run of a container ends.

    A run begins with the container's init, and ends with the init or with its monitor,
    see `IMonitoredRuntime`.
    """

    def ended(run: int) -> None:
        """Called when a run has ended; see `devlxd.model.Caller.run`.

        From now on no peer is identified as a caller of this run.
        """


class IProcessTable(Interface):
    """The processes of the host, as its kernel knows them.

    Each method that takes a pid raises `OSError` when that process does not
    exist, or may not be examined.
    """

    def cgroups(pid: int) -> Sequence[str]:
        """Return the paths of the cgroups of ``pid``, one for each hierarchy."""

    def pid_namespaces(pid: int) -> Sequence[int]:
        """Return the numbers of the pid namespaces of ``pid``, below the host's.

        :return: from its own namespace to the outermost one; empty for a process
            in the host's pid namespace.
        """

    def init(pid: int) -> int:
        """Return the pid of the init of the outermost pid namespace of ``pid``.

        The host's own pid namespace does not count.

        :raises OSError: also if ``pid`` is in the host's pid namespace.
        """

    def id_map(pid: int) -> IIDMap:
        """Return the map from the uids of the host to those that ``pid`` sees."""

    def status(pid: int) -> ProcessStatus:
        """Return those facts of ``/proc/PID/status`` that devlxd uses."""

    def started(pid: int) -> int:
        """Return when ``pid`` was started, in clock ticks since the boot.

        It does not change while the process runs.
        """

    def boot() -> str:
        """Return the id of the current boot of the host; see `devlxd.model.Init`."""

    def command_line(pid: int) -> str:
        r"""Return the command line of ``pid``, with ``\0`` after each argument.

        Only for processes that no guest controls: the command line is read from the
        memory of the process, which can block the reader indefinitely.
        """

    def program(pid: int) -> str:
        """Return the path of the program that ``pid`` runs."""

    def open_pidfd(pid: int) -> int:
        """Return a new pidfd of ``pid``, to close with `close_pidfd`."""

    def is_alive(pidfd: int) -> bool:
        """Return whether the process of ``pidfd`` has not ended."""

    def cgroup_key(pid: int, pidfd: int) -> Hashable:
        """Return a value that stands for the cgroups of a process.

        As long as a process has the same key, `cgroups` returns the same paths. While
        the table is used, no process with other paths ever has this key.

        :param pid: the pid of that process.
        :raises OSError: if the process has ended, and its pid may be used again.
        """

    def namespace_among(pidfd: int, namespaces: Container[int]) -> int | None:
        """Return the first pid namespace of a process that is one of ``namespaces``.

        Its namespaces are those of `pid_namespaces`, in that order.

        :return: ``None`` if none is.
        :raises OSError: if the process has ended, or the kernel does not return this
            (before Linux 6.11).
        """

    def close_pidfd(pidfd: int) -> None:
        """Close a pidfd that `open_pidfd` returned."""


class IIDMap(Interface):
    """A map from the user ids of the host to the user ids of a container."""

    def inside(host_id: int) -> int | None:
        """Return the id inside the container that ``host_id`` is mapped to.

        :return: ``None`` if it is not mapped.
        """


class IRuntime(Interface):
    """A container runtime; its containers are known by the paths of their cgroups.

    Twisted plugins that provide this interface and `twisted.plugin.IPlugin` are
    used in addition to the built-in runtimes.
    """

    name: str = Attribute(
        "The name of the runtime in documents (``runtime:``). A plugin without "
        "one is used as well, but no document can name it."
    )

    def claim(cgroup: str) -> Claim | None:
        """Return the container that a cgroup belongs to, by its path.

        Decide by the components that only the host's root can create. Read the path
        from its root: a guest chooses everything below the cgroup of its container,
        and a user everything below ``user.slice``.

        Decide by nothing but the path: while a container runs, the answer for each of
        its cgroups is remembered.

        :param cgroup: a path as in ``/proc/PID/cgroup``, for example
            ``/lxc.payload.c1/init.scope``.
        :return: ``None`` if it is not a cgroup of a container of this runtime.
        """


class IMonitoredRuntime(IRuntime):
    """A runtime in which a container's cgroup may have another container's name.

    Each container of such a runtime has a monitor: the parent of the container's
    init. `confirm` is called once for each run, when the init is first seen.
    """

    def confirm(claim: Claim, monitor: Monitor) -> Claim:
        """Return the container of a run, by its monitor.

        :param claim: the claim to the cgroup of the run's init.
        :param monitor: the parent of the init: a process of the host's root that
            is in no container. Guests cannot choose its command line.
        :return: the container's claim, with the name of the runtime and, where
            it has one, the LXC path.
        :raises NotInContainer: if ``monitor`` contradicts ``claim``, or does
            not say which of several containers it belongs to.
        """
