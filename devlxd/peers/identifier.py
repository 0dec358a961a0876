# -*- test-case-name: tests.peers.test_identifier -*-
"""Peer -> caller: the container of a process, by checks that must agree.

1. The cgroup of the peer belongs to a container, according to a runtime.
2. The init of the peer's outermost pid namespace below the host's is in a cgroup
   of the same container.
3. If the runtime has monitors, the monitor of that init confirms the container.

A guest can change none of these facts. ``docs/security.rst`` has the details.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from attrs import evolve, field, frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFDSet
from zope.interface import implementer

from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IProcessTable,
    IRunIdentifier,
    IRunObserver,
    IRuntime,
    IStoreObserver,
    NotInContainer,
)
from devlxd.model import Caller, Claim, Container, Init, Peer
from devlxd.peers.cgroup_claims import CgroupClaims
from devlxd.peers.id_maps import IDMapError, recorded_id_map
from devlxd.peers.init_identifier import InitIdentifier
from devlxd.peers.refusals import describe_refusal, printable
from devlxd.peers.runs import Run, RunRegistry


@implementer(IRunIdentifier, IRunObserver, IStoreObserver)
class CallerIdentifier(Service):
    """The identification of all callers of a host.

    While it runs as a service it observes the store, to end a run when the
    document of its container is changed to describe another container. When it
    is stopped it ends all runs.

    :param store: the containers that callers may belong to.
    :param processes: the processes of the host.
    :param runtimes: the runtimes; of those that make the same claim, the first is used.
    :param reactor: watches processes to notice the end of runs.
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
        self._claims = CgroupClaims(processes, runtimes)
        inits = InitIdentifier(processes, self._claims)
        self._runs = RunRegistry(processes, inits.identify, reactor)
        self._runs.observers.append(self)
        # By the container's name: the run whose callers are identified. Those of other
        # runs with that name are refused.
        self._served: dict[str, Run] = {}

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        try:
            return self._identify(peer)
        except (NotInContainer, OSError, IDMapError) as error:
            raise describe_refusal(
                peer, error, self._processes, self._claims
            ) from error

    def _identify(self, peer: Peer) -> Caller:
        if peer.pidfd is None:
            raise NotInContainer("it has no pidfd", "no pidfd")
        claim, _runtime = self._claims.of_process(peer.pid)
        run = self._runs.run_in(self._outermost_namespace(peer, claim), peer.pid)
        if run.cgroup_claim != claim:
            raise NotInContainer(
                f"it is in the cgroup of {claim}, but in the pid namespace of "
                f"{run.cgroup_claim}",
                "contradiction",
            )
        # If the peer is still alive, all facts are those of the peer, and not of
        # a later process with its pid.
        if not self._processes.is_alive(peer.pidfd):
            raise NotInContainer("it ended before it was identified", "ended")
        container = self._container_of(run.confirmed_claim)
        self._serve(container, run)
        id_map = recorded_id_map(container) or run.id_map
        inside = id_map.inside(peer.uid)
        return Caller(container.name, inside, run.number, run.init)

    def caller_of(self, init: Init) -> Caller:
        """See `IRunIdentifier.caller_of`."""
        try:
            pidfd = self._processes.open_pidfd(init.pid)
        except OSError as error:
            raise NotInContainer(f"pid {init.pid}: {error}", "ended") from error
        try:
            return self._caller_of(init, pidfd)
        except OSError as error:
            raise NotInContainer(f"pid {init.pid}: {error}", "ended") from error
        finally:
            self._processes.close_pidfd(pidfd)

    def _caller_of(self, init: Init, pidfd: int) -> Caller:
        """See `caller_of`.

        :param pidfd: a pidfd of the process that has the pid of ``init`` now. It may
            have been started later.
        :raises OSError: if that process cannot be examined.
        """
        started = self._processes.started(init.pid)
        if init != Init(init.pid, started, self._processes.boot()):
            raise NotInContainer(f"pid {init.pid} is now another process", "ended")
        uid = self._processes.status(init.pid).uid
        caller = self.identify(Peer(init.pid, uid, uid, pidfd))
        if caller.init != init:
            raise NotInContainer(f"pid {init.pid} is not its init", "init")
        return evolve(caller, uid=0)

    def _outermost_namespace(self, peer: Peer, claim: Claim) -> int:
        """Return the peer's outermost pid namespace below the host's."""
        namespaces = self._processes.pid_namespaces(peer.pid)
        if not namespaces:
            raise NotInContainer(
                f"it is in the cgroup of {claim}, but in the host's pid namespace",
                "host's pid namespace",
            )
        return namespaces[-1]

    def _container_of(self, claim: Claim) -> Container:
        """Return the container of a confirmed claim, from the store.

        :raises NotInContainer: if the store does not have it, or its document
            describes another container of the same name.
        """
        container = (
            self._store.get(claim.name) if claim.name else self._store.by_id(claim.id)
        )
        if container is None:
            raise NotInContainer(
                f"container {claim} is not in the store", "not in the store"
            )
        if claim.name and container.id:
            raise NotInContainer(
                f"the document of {claim} is for a container with an id", "has an id"
            )
        if not _matches(container, claim):
            raise NotInContainer(
                f"the document of {container.name} is for a container of "
                f"{container.runtime or 'any runtime'} in "
                f"{container.lxcpath or 'any path'}, this one is of "
                f"{claim.runtime or 'an unknown runtime'} in "
                f"{claim.lxcpath or 'an unknown path'}",
                "another runtime",
            )
        return container

    def _serve(self, container: Container, run: Run) -> None:
        """Make ``run`` the served run of its container.

        :raises NotInContainer: if another run with the same name is served.
        """
        other = self._served.setdefault(container.name, run)
        if other is run:
            return
        if self._runs.is_running(other):
            raise NotInContainer(
                f"another container {container.name} "
                f"({_origin(other.confirmed_claim)}) is running and is served, this "
                f"one ({_origin(run.confirmed_claim)}) is not: write 'runtime:' or "
                "'lxcpath:' in the document to distinguish them",
                "name in use",
            )
        self._served[container.name] = run

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`.

        The served run ends if the document now describes another container.
        """
        run = self._served.get(name)
        if run is None or new is None or _matches(new, run.confirmed_claim):
            return
        self._runs.end(run)

    def ended(self, run: int) -> None:
        """See `IRunObserver.ended`."""
        for name, served in list(self._served.items()):
            if served.number == run:
                del self._served[name]

    def watch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.watch`."""
        self._runs.observers.append(observer)

    def unwatch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.unwatch`."""
        self._runs.observers.remove(observer)

    def startService(self) -> None:
        """See `IService.startService`: start to observe the store."""
        super().startService()
        self._store.watch(self)

    def stopService(self) -> None:
        """See `IService.stopService`: end all runs."""
        if self.running:
            self._store.unwatch(self)
        super().stopService()
        self._served.clear()
        self._runs.end_all()


def _matches(container: Container, claim: Claim) -> bool:
    """Return whether ``container`` may be the container of ``claim``."""
    return (
        container.id == claim.id
        and container.runtime in ("", claim.runtime)
        and (
            not container.lxcpath
            or os.path.normpath(container.lxcpath) == os.path.normpath(claim.lxcpath)
        )
    )


def _origin(claim: Claim) -> str:
    """Return the runtime and the LXC path of a container, for the log."""
    runtime = claim.runtime or "an unknown runtime"
    return f"{runtime} in {printable(claim.lxcpath)}" if claim.lxcpath else runtime


@implementer(ICallerIdentifier)
@frozen
class AssumedIdentifier:
    """An identifier that treats every peer as root of one container (``--assume``).

    :ivar container: the name of that container.
    """

    container: str
    _observers: list[IRunObserver] = field(factory=list, init=False, eq=False)

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        return Caller(self.container, uid=0)

    def watch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.watch`; no observer is notified, as no run ends."""
        self._observers.append(observer)

    def unwatch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.unwatch`."""
        self._observers.remove(observer)
