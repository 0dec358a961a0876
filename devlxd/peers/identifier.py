# -*- test-case-name: tests.peers.test_identifier -*-
"""Peer -> caller: the container of a process, by checks that must agree.

1. The cgroup of the peer belongs to a container, according to a runtime.
2. The init of the peer's outermost pid namespace below the host's is in a cgroup
   of the same container.
3. If the runtime has monitors, the monitor of that init confirms the container.

A guest can change none of these facts. ``docs/security.rst`` has the details.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFDSet
from zope.interface import implementer

from devlxd.interfaces import (
    IContainerStore,
    IExplainer,
    IProcessTable,
    IRunIdentifier,
    IRunObserver,
    IRuntime,
    IStoreObserver,
    NotInContainer,
)
from devlxd.model import Caller, Claim, Container, Explanation, Init, Peer
from devlxd.peers.cgroup_claims import CgroupClaims, name_of
from devlxd.peers.checks import UNRECORDED, Checks, RecordedChecks
from devlxd.peers.claimed_containers import container_of, describes
from devlxd.peers.id_maps import IDMapError, recorded_id_map
from devlxd.peers.init_identifier import InitIdentifier
from devlxd.peers.known_runs import KnownRuns
from devlxd.peers.refusals import describe_peer, describe_refusal, origin_of
from devlxd.peers.runs import Run, RunRegistry

#: The exceptions by which an identification fails.
_ERRORS = (NotInContainer, OSError, IDMapError)

#: What is found of a user: the uids as devlxd and as the container sees them.
_USER, _NO_USER = "uid {} is {} inside", "uid {} is no user inside"


@implementer(IRunIdentifier, IExplainer, IRunObserver, IStoreObserver)
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
        self._known = KnownRuns(processes, self._runs)
        self._runs.observers.append(self)
        # By the container's name: the run whose callers are identified. Those of other
        # runs with that name are refused.
        self._served: dict[str, Run] = {}

    def identify(self, peer: Peer) -> Caller:
        """See `ICallerIdentifier.identify`."""
        try:
            run = self._known.run_of(peer) or self._examine(peer)
            caller = self._caller_in(run, peer.uid, UNRECORDED)
        except _ERRORS as error:
            raise describe_refusal(
                peer, error, self._processes, self._claims
            ) from error
        self._served[caller.container] = run
        return caller

    def _examine(self, peer: Peer) -> Run:
        """Return the run of a peer by all checks, and remember the peer's cgroups."""
        cgroups = self._known.cgroups_of(peer)
        run = self._find_run(peer, self._runs.run_in, UNRECORDED)
        self._known.remember(peer, cgroups, run)
        return run

    def explain(self, pid: int) -> Explanation:
        """See `IExplainer.explain`.

        All checks are made, also if the cgroup of the process is known. A run that is
        not known yet is not known afterwards, either.
        """
        checks, caller = RecordedChecks(pid), None
        with ExitStack() as opened:

            def run_in(namespace: int, pid: int, checks: Checks) -> Run:
                examined = self._runs.examined(namespace, pid, checks)
                return opened.enter_context(examined)

            try:
                peer = self._open_process(pid, opened, checks)
                run = self._find_run(peer, run_in, checks)
                caller = self._caller_in(run, peer.uid, checks)
            except _ERRORS as error:
                checks.failed(error)
        return checks.explanation(caller)

    def _open_process(self, pid: int, opened: ExitStack, checks: Checks) -> Peer:
        """Return a process as a peer.

        :param opened: closes the pidfd of the peer.
        :raises NotInContainer: if there is no such process.
        """
        checks.begin("process")
        try:
            pidfd = self._processes.open_pidfd(pid)
        except (ProcessLookupError, OverflowError):
            raise NotInContainer(f"there is no process {pid}") from None
        except OSError as error:
            raise NotInContainer(f"{pid} is no process: {error}") from error
        opened.callback(self._processes.close_pidfd, pidfd)
        uid = self._processes.status(pid).effective_uid
        peer = Peer(pid, uid, uid, pidfd)
        if not self._processes.is_alive(pidfd):
            raise NotInContainer("it has ended")
        _owner, description = describe_peer(peer, self._processes, self._claims)
        checks.passed("{}", description)
        return peer

    def _caller_in(self, run: Run, host_uid: int, checks: Checks) -> Caller:
        """Return a caller of a run, by the document of its container.

        :param host_uid: the uid of the caller on the host.
        :param checks: receives the checks.
        """
        checks.begin("document")
        container = container_of(run.confirmed_claim, self._store)
        checks.passed(
            "{} is in the store, with runtime: {}, lxcpath: {}",
            container.name,
            container.runtime or "any",
            container.lxcpath or "any",
        )
        checks.begin("name")
        self._check_served(container, run)
        checks.passed("no other running container is called {}", container.name)
        checks.begin("user")
        uid = (recorded_id_map(container) or run.id_map).inside(host_uid)
        checks.passed(_USER if uid is not None else _NO_USER, host_uid, uid)
        return Caller(container.name, uid, run.number, run.init)

    def _find_run(
        self, peer: Peer, run_in: Callable[[int, int, Checks], Run], checks: Checks
    ) -> Run:
        """Return the run that a peer belongs to, by all checks.

        :param run_in: see `RunRegistry.run_in`.
        :param checks: receives the checks.
        """
        if peer.pidfd is None:
            raise NotInContainer("it has no pidfd", "no pidfd")
        checks.begin("cgroup")
        claim, runtime = self._claims.of_process(peer.pid)
        checks.passed(
            "it is that of the container {}, as {} names cgroups",
            claim,
            name_of(runtime) or "a plugin",
        )
        checks.begin("pid namespace")
        namespace = self._outermost_namespace(peer, claim)
        checks.passed("{}, which is not that of the host", namespace)
        run = run_in(namespace, peer.pid, checks)
        checks.begin("same container")
        if run.cgroup_claim != claim:
            raise NotInContainer(
                f"it is in the cgroup of {claim}, but in the pid namespace of "
                f"{run.cgroup_claim}",
                "contradiction",
            )
        checks.passed("the process and its init are both in the cgroup of {}", claim)
        checks.begin("still alive")
        # If the peer is still alive, all facts are those of the peer, and not of
        # a later process with its pid.
        if not self._processes.is_alive(peer.pidfd):
            raise NotInContainer("it ended before it was identified", "ended")
        checks.passed("it has not ended meanwhile")
        return run

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

    def _check_served(self, container: Container, run: Run) -> None:
        """Check that no other run of a container is served.

        :raises NotInContainer: if another run with the same name is served.
        """
        other = self._served.get(container.name, run)
        if other is not run and self._runs.is_running(other):
            raise NotInContainer(
                f"another container {container.name} "
                f"({origin_of(other.confirmed_claim)}) is running and is served, this "
                f"one ({origin_of(run.confirmed_claim)}) is not: write 'runtime:' or "
                "'lxcpath:' in the document to distinguish them",
                "name in use",
            )

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`.

        The served run ends if the document now describes another container.
        """
        run = self._served.get(name)
        if run is None or new is None or describes(new, run.confirmed_claim):
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
