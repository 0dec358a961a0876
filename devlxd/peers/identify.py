# -*- test-case-name: tests.peers.test_identify -*-
"""Peer -> caller, by two witnesses that must agree.

The one is the cgroup that the runtime made for the container, the other the
pid namespace that the peer lives in: the init of the outermost one below the
host's must live in a cgroup of the same container. A guest can change neither.
docs/security.rst tells the whole story.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFDSet
from zope.interface import implementer

from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    ILifeObserver,
    IProcessTable,
    IRuntime,
    NotInContainer,
)
from devlxd.model import Caller, Claim, Container, Peer
from devlxd.peers.idmap import IDMapError, recorded_id_map
from devlxd.peers.lives import InitError, Lives


@implementer(ICallerIdentifier)
class CallerIdentifier(Service):
    """Finds the container of a peer.

    As a service it lets go of what it remembers when it stops.

    :param store: the containers that a peer may live in.
    :param processes: what the kernel says of processes.
    :param runtimes: who is asked for the meaning of a cgroup.
    :param reactor: hears of inits that end.
    """

    def __init__(
        self,
        store: IContainerStore,
        processes: IProcessTable,
        runtimes: Sequence[IRuntime],
        reactor: IReactorFDSet,
    ) -> None:
        self._store = store
        self._processes = processes
        self._runtimes = runtimes
        self._lives = Lives(processes, self._claim_of, reactor)

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        try:
            return self._identify(peer)
        except (OSError, InitError, IDMapError) as error:
            raise NotInContainer(f"pid {peer.pid}: {error}") from error

    def _identify(self, peer: Peer) -> Caller:
        if peer.pidfd is None:
            raise NotInContainer(f"pid {peer.pid}: nothing holds it")
        claim = self._claim_of(peer.pid)
        namespaces = self._processes.pid_namespaces(peer.pid)
        if not namespaces:
            raise NotInContainer(
                f"pid {peer.pid}: its cgroup is of {claim}, "
                "its pid namespace is the host's"
            )
        life = self._lives.of(namespaces[-1], peer.pid)
        if life.claim != claim:
            raise NotInContainer(
                f"pid {peer.pid}: its cgroup is of {claim}, "
                f"its pid namespace of {life.claim}"
            )
        # Only now is it certain that all this was read of the peer, and not
        # of another process that was given its pid.
        if not self._processes.is_alive(peer.pidfd):
            raise NotInContainer(f"pid {peer.pid}: gone before it was placed")
        container = self._container(claim)
        id_map = recorded_id_map(container) or life.id_map
        return Caller(container.name, id_map.inside(peer.uid), life.number)

    def _claim_of(self, pid: int) -> Claim:
        """Ask the first witness: whose is the cgroup of ``pid``?"""
        claims = {
            claim
            for cgroup in self._processes.cgroups(pid)
            for runtime in self._runtimes
            if (claim := runtime.claim(cgroup)) is not None
        }
        if not claims:
            raise NotInContainer(f"pid {pid}: its cgroup is of no container")
        if len(claims) > 1:
            found = " and ".join(sorted(map(str, claims)))
            raise NotInContainer(f"pid {pid}: its cgroups are of {found}")
        return claims.pop()

    def _container(self, claim: Claim) -> Container:
        container = (
            self._store.get(claim.name) if claim.name else self._store.by_id(claim.id)
        )
        if container is None:
            raise NotInContainer(f"container {claim} is not in the store")
        if claim.name and container.id:
            raise NotInContainer(f"container {claim} is known by its id, not its name")
        return container

    def watch(self, observer: ILifeObserver) -> None:
        """See `ICallerIdentifier.watch`."""
        self._lives.observers.append(observer)

    def unwatch(self, observer: ILifeObserver) -> None:
        """See `ICallerIdentifier.unwatch`."""
        self._lives.observers.remove(observer)

    def stopService(self) -> None:
        """Let go of every init."""
        super().stopService()
        self._lives.forget_all()


@implementer(ICallerIdentifier)
@frozen
class AssumedIdentifier:
    """Takes every peer for the root of one container, to try things out.

    :ivar container: that container's name.
    """

    container: str

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        return Caller(self.container, uid=0)

    def watch(self, observer: ILifeObserver) -> None:
        """See `ICallerIdentifier.watch`: nothing ever ends."""

    def unwatch(self, observer: ILifeObserver) -> None:
        """See `ICallerIdentifier.unwatch`."""
