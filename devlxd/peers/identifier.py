# -*- test-case-name: tests.peers.test_identifier -*-
"""Peer -> caller, by checks that must agree.

One is the cgroup that the runtime made for the container, another the pid
namespace that the peer lives in: the init of the outermost one below the host's
must live in a cgroup of the same container. The third is the monitor of that
init, where the runtime has one. A guest can change none of them.
docs/security.rst tells the whole story.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFDSet
from zope.interface import implementer

from devlxd.interfaces import (
    ICallerIdentifier,
    IContainerStore,
    IProcessTable,
    IRunObserver,
    IRuntime,
    IStoreObserver,
    NotInContainer,
)
from devlxd.model import Caller, Claim, Container, Peer
from devlxd.peers.claims import Claims
from devlxd.peers.id_maps import IDMapError, recorded_id_map
from devlxd.peers.runs import Run, Runs

#: How much of what a guest may have chosen is logged at a time, in characters.
_MAX_LOGGED = 200


@implementer(ICallerIdentifier, IRunObserver, IStoreObserver)
class CallerIdentifier(Service):
    """Finds the container of a peer.

    As a service it hears of changed documents while it runs, and lets go of
    what it remembers when it stops.

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
        self._claims = Claims(processes, runtimes)
        self._runs = Runs(processes, self._claims.of_init, reactor)
        self._runs.observers.append(self)
        # Of each container the one run that is served, by its name.
        self._served: dict[str, Run] = {}

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        try:
            return self._identify(peer)
        except (NotInContainer, OSError, IDMapError) as error:
            raise self._refusal(peer, error) from error

    def _identify(self, peer: Peer) -> Caller:
        if peer.pidfd is None:
            raise NotInContainer("nothing holds it", "not held")
        claim = self._claims.of(peer.pid)
        namespaces = self._processes.pid_namespaces(peer.pid)
        if not namespaces:
            raise NotInContainer(
                f"its cgroup is of {claim}, its pid namespace is the host's",
                "host's namespace",
            )
        run = self._runs.of(namespaces[-1], peer.pid)
        if run.claim != claim:
            raise NotInContainer(
                f"its cgroup is of {claim}, its pid namespace of {run.claim}",
                "contradiction",
            )
        # Only now is it certain that all this was read of the peer, and not
        # of another process that was given its pid.
        if not self._processes.is_alive(peer.pidfd):
            raise NotInContainer("gone before it was placed", "gone")
        container = self._container(run.owner)
        self._serve(container, run)
        id_map = recorded_id_map(container) or run.id_map
        return Caller(container.name, id_map.inside(peer.uid), run.number)

    def _container(self, owner: Claim) -> Container:
        container = (
            self._store.get(owner.name) if owner.name else self._store.by_id(owner.id)
        )
        if container is None:
            raise NotInContainer(f"container {owner} is not in the store", "unknown")
        if owner.name and container.id:
            raise NotInContainer(
                f"container {owner} is known by its id, not its name", "has an id"
            )
        if not _is_of(container, owner):
            raise NotInContainer(
                f"the document of {container.name} is for "
                f"{container.runtime or 'any runtime'} in "
                f"{container.lxcpath or 'any path'}, this one is of "
                f"{owner.runtime or 'an unknown runtime'} in "
                f"{owner.lxcpath or 'an unknown path'}",
                "another runtime",
            )
        return container

    def _serve(self, container: Container, run: Run) -> None:
        """Serve a run, unless another one of the same name is served."""
        other = self._served.setdefault(container.name, run)
        if other is run:
            return
        if self._runs.goes_on(other):
            raise NotInContainer(
                f"another container {container.name} runs and is served "
                f"({_origin(other.owner)}), this one is not ({_origin(run.owner)}): "
                "write 'runtime:' or 'lxcpath:' in the document to tell them apart",
                "two of one name",
            )
        self._served[container.name] = run

    def _refusal(self, peer: Peer, error: Exception) -> NotInContainer:
        """Say who is refused and why, and whose limit of log lines that counts for.

        Both for the log only, as far as the kernel still knows.
        """
        whose, who = self._description(peer)
        if isinstance(error, NotInContainer):
            reason = error.kind
        elif isinstance(error, OSError):
            reason = errno.errorcode.get(error.errno or 0, "error")
        else:
            reason = "id map"
        return NotInContainer(f"pid {peer.pid} ({who}): {error}", (whose, reason))

    def _description(self, peer: Peer) -> tuple[str, str]:
        who = f"uid {peer.uid}"
        if peer.pidfd is None:
            return "", who
        try:
            cgroups = self._processes.cgroups(peer.pid)
            name = self._processes.status(peer.pid).name
        except OSError:
            return "", f"{who}, gone"
        if not cgroups or not self._processes.is_alive(peer.pidfd):
            return "", f"{who}, gone"
        # That of a container, if there is one; in some hierarchies a process
        # may well be at the root.
        path = max(
            dict.fromkeys(cgroups),
            key=lambda path: (bool(self._claims.of_cgroup(path)), len(path)),
        )
        claim = self._claims.of_cgroup(path)
        whose = str(claim) if claim else "/".join(path.split("/")[:2])
        return whose, f"{who}, command {_printable(name)}, cgroup {_printable(path)}"

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`.

        A run whose container the document is not any more ends for observers.
        """
        run = self._served.get(name)
        if run is not None and new is not None and not _is_of(new, run.owner):
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
        """Hear of changed documents."""
        super().startService()
        self._store.watch(self)

    def stopService(self) -> None:
        """Let go of every init."""
        if self.running:
            self._store.unwatch(self)
        super().stopService()
        self._served.clear()
        self._runs.forget_all()


def _is_of(container: Container, owner: Claim) -> bool:
    """Tell whether ``container`` is the one that ``owner`` is a run of."""
    return (
        container.id == owner.id
        and container.runtime in ("", owner.runtime)
        and (
            not container.lxcpath
            or os.path.normpath(container.lxcpath) == os.path.normpath(owner.lxcpath)
        )
    )


def _origin(owner: Claim) -> str:
    runtime = owner.runtime or "an unknown runtime"
    return f"{runtime} in {_printable(owner.lxcpath)}" if owner.lxcpath else runtime


def _printable(text: str) -> str:
    """Return what a guest may have chosen as the log can show it."""
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return shown if len(shown) <= _MAX_LOGGED else f"{shown[:_MAX_LOGGED]}..."


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

    def watch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.watch`: nothing ever ends."""

    def unwatch(self, observer: IRunObserver) -> None:
        """See `ICallerIdentifier.unwatch`."""
