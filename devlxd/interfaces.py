"""Every seam of devlxd, and nothing else.

A host agent extends the service by providing one of these. Each has a twin in
memory and a suite of contract tests that runs on all providers.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager

from twisted.internet.interfaces import IReactorTime, IReactorUNIX, ITransport
from zope.interface import Interface

from devlxd.model import Caller, Container, Peer


class NotInContainer(Exception):
    """The peer cannot be placed; the text says why, for the log only."""


class IDevLXDReactor(IReactorTime, IReactorUNIX):
    """What devlxd needs of a reactor."""


class IContainerStore(Interface):
    """Where containers come from."""

    def get(name: str) -> Container | None:
        """Return the present snapshot of the container ``name``.

        Costs no disk access and no search.

        :return: the snapshot, or ``None`` where there is no such container.
        """

    def names() -> Collection[str]:
        """Return the names of all containers, in no order."""

    def watch(observer: IStoreObserver) -> None:
        """Tell ``observer`` of each change from now on, once a change."""

    def unwatch(observer: IStoreObserver) -> None:
        """Tell ``observer`` of nothing any more.

        :raises ValueError: when it does not watch.
        """


class IStoreObserver(Interface):
    """Who hears of changed containers."""

    def changed(name: str, old: Container | None, new: Container | None) -> None:
        """Hear that one snapshot took the place of another.

        :param old: the snapshot until now; ``None`` for a new container.
        :param new: the snapshot from now on, already what the store's ``get``
            returns; ``None`` for a container that went.
        """


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


class IRuntime(Interface):
    """How one runtime names the cgroups of its containers."""

    def container_name(cgroup: str) -> str | None:
        """Read the name of a container off the path of a cgroup.

        Only what the runtime itself wrote may count: a path has to be read
        from its root, as everything below a container's own cgroup is the
        guest's to choose.

        :param cgroup: a path as in ``/proc/PID/cgroup``, for example
            ``/lxc.payload.c1/init.scope``.
        :return: the name, or ``None`` where this runtime made no such cgroup.
        """
