# -*- test-case-name: tests.peers.test_runs -*-
"""The runs of containers, and the facts that do not change during a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from attrs import field, frozen
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.interfaces import (
    IIDMap,
    IProcessTable,
    IRunObserver,
    NotInContainer,
)
from devlxd.model import Claim, Init
from devlxd.peers.checks import UNRECORDED, Checks
from devlxd.peers.init_identifier import IdentifiedInit
from devlxd.peers.known_cgroups import KnownCgroups
from devlxd.peers.refusals import origin_of


@frozen
class Run:
    """One run of a container, from the start of its init to its end.

    If the init has a monitor, the run also ends when the monitor ends: an init that
    outlives its monitor may run beside a new container with the same name.

    :ivar number: the number of the run; no other run has it.
    :ivar namespace: the number of its pid namespace.
    :ivar cgroup_claim: the claim to the cgroup of its init.
    :ivar confirmed_claim: the claim that the runtime has confirmed, see
        `IdentifiedInit`.
    :ivar id_map: the uid map of its init.
    :ivar init: its init, as a later devlxd recognizes it.
    :ivar pidfds: pidfds of its init and, if there is one, of its monitor.
    :ivar cgroups: cgroups in which `cgroup_claim` is known to be the only claim.
    """

    number: int
    namespace: int
    cgroup_claim: Claim
    confirmed_claim: Claim
    id_map: IIDMap
    init: Init
    pidfds: tuple[int, ...]
    cgroups: KnownCgroups = field(factory=KnownCgroups, eq=False, repr=False)


def _report_known(run: Run, checks: Checks) -> None:
    """Report the checks of a known run: they were made when it was first seen."""
    checks.begin("init")
    checks.passed(
        "pid {} was in the cgroup of {} when devlxd first saw it",
        run.init.pid,
        run.cgroup_claim,
    )
    claim = run.confirmed_claim
    if len(run.pidfds) > 1:
        checks.begin("monitor")
        checks.passed(
            "it was the monitor of {} ({}) when devlxd first saw it",
            claim,
            origin_of(claim),
        )
    else:
        checks.skipped(
            "monitor", "containers of {} have none", claim.runtime or "a plugin"
        )
    checks.begin("run")
    checks.passed("devlxd knows it as run {}, which has not ended", run.number)


class InitError(NotInContainer):
    """Raised when a process is not, or no longer, the init of a pid namespace."""


class RunRegistry:
    """The known runs, by the numbers of their pid namespaces.

    The init of each run is identified once, when `run_in` is first called for its
    namespace. The reactor watches the pidfds of each run to notice its end.

    :param processes: the processes of the host.
    :param identify_init: returns the container that an init belongs to, see
        `InitIdentifier.identify`; its exceptions reach the caller of `run_in`.
    :param reactor: watches the pidfds.
    :ivar observers: notified of each run that ends.
    """

    _log = Logger()

    def __init__(
        self,
        processes: IProcessTable,
        identify_init: Callable[[int, Checks], IdentifiedInit],
        reactor: IReactorFDSet,
    ) -> None:
        self._processes = processes
        self._identify_init = identify_init
        self._reactor = reactor
        self._runs: dict[int, tuple[Run, Sequence[_PidfdReader]]] = {}
        self._numbers = count(1)
        self.observers: list[IRunObserver] = []

    def run_in(self, namespace: int, pid: int, checks: Checks = UNRECORDED) -> Run:
        """Return the current run in a pid namespace.

        :param namespace: the number of the pid namespace.
        :param pid: a process in it, or in a namespace below it.
        :param checks: receives the checks of the init, the monitor and the run.
        :raises InitError: if the init of ``pid`` is in another namespace, or
            has just ended.
        :raises NotInContainer: if the container of the init is not certain; see
            `InitIdentifier.identify`.
        :raises OSError: if the init cannot be examined.
        """
        run = self.known(namespace, checks)
        if run is None:
            run = self._examine(namespace, pid, next(self._numbers), checks)
            self._watch(run)
        return run

    @contextmanager
    def examined(self, namespace: int, pid: int, checks: Checks) -> Iterator[Run]:
        """Return a context manager for what `run_in` would return.

        A run that was not known is not known afterwards either: its pidfds are open
        inside the ``with`` block only, and its number is 0.
        """
        run = self.known(namespace, checks)
        if run is not None:
            yield run
            return
        run = self._examine(namespace, pid, 0, checks)
        try:
            yield run
        finally:
            self._close(run.pidfds)

    def is_running(self, run: Run) -> bool:
        """Return whether a run has not ended.

        If it has, the observers may not have been notified yet.
        """
        return self._is_known(run) and all(map(self._processes.is_alive, run.pidfds))

    def end(self, run: Run) -> None:
        """Forget a run and notify the observers, even if its init is still alive."""
        if self._is_known(run):
            self._end(run.namespace)

    def end_all(self) -> None:
        """Forget all runs, and notify the observers of the end of each."""
        for namespace in list(self._runs):
            self._end(namespace)

    def _is_known(self, run: Run) -> bool:
        known, _ = self._runs.get(run.namespace, (None, None))
        return known is run

    @property
    def namespaces(self) -> Collection[int]:
        """The numbers of the pid namespaces of the known runs."""
        return self._runs.keys()

    def known(self, namespace: int, checks: Checks = UNRECORDED) -> Run | None:
        """Return the known run in a pid namespace, if it has not ended.

        :param checks: receives the checks that were made when it was first seen.
        """
        run, _ = self._runs.get(namespace, (None, None))
        if run is None:
            return None
        if not self.is_running(run):
            self._end(namespace)
            return None
        if checks is not UNRECORDED:
            _report_known(run, checks)
        return run

    def _examine(self, namespace: int, pid: int, number: int, checks: Checks) -> Run:
        checks.begin("init")
        init = self._processes.init(pid)
        pidfds = [self._processes.open_pidfd(init)]
        try:
            identified = self._identify_init(init, checks)
            checks.begin("run")
            if identified.monitor_pidfd is not None:
                pidfds.append(identified.monitor_pidfd)
            id_map = self._processes.id_map(init)
            started = self._processes.started(init)
            if list(self._processes.pid_namespaces(init)) != [namespace]:
                raise InitError(f"pid {init} is not its init", "init")
            if not self._processes.is_alive(pidfds[0]):
                raise InitError(f"its init (pid {init}) has ended", "init")
        except BaseException:
            self._close(pidfds)
            raise
        checks.passed("devlxd sees it for the first time")
        return Run(
            number,
            namespace,
            identified.cgroup_claim,
            identified.confirmed_claim,
            id_map,
            Init(init, started, self._processes.boot()),
            tuple(pidfds),
        )

    def _watch(self, run: Run) -> None:
        readers = [
            _PidfdReader(fd, lambda: self._end_if_ended(run)) for fd in run.pidfds
        ]
        self._runs[run.namespace] = (run, readers)
        for reader in readers:
            self._reactor.addReader(reader)

    def _end_if_ended(self, run: Run) -> None:
        # The reactor may report a closed descriptor whose number is used again.
        if self._is_known(run) and not self.is_running(run):
            self._end(run.namespace)

    def _end(self, namespace: int) -> None:
        run, readers = self._runs.pop(namespace)
        for reader in readers:
            self._reactor.removeReader(reader)
        self._close(run.pidfds)
        for observer in list(self.observers):
            try:
                observer.ended(run.number)
            except Exception:
                self._log.failure(
                    "an observer failed when run {run} of {container} ended; the other "
                    "observers are notified",
                    run=run.number,
                    container=run.confirmed_claim,
                )

    def _close(self, pidfds: Sequence[int]) -> None:
        for pidfd in pidfds:
            self._processes.close_pidfd(pidfd)


@implementer(IReadDescriptor)
class _PidfdReader:
    """A reader that notices the end of a process (``pidfd_open(2)``).

    :param pidfd: the pidfd; its owner closes it.
    :param on_end: called when the process has ended.
    """

    def __init__(self, pidfd: int, on_end: Callable[[], None]) -> None:
        self._pidfd = pidfd
        self._on_end = on_end

    def fileno(self) -> int:
        """See `IFileDescriptor.fileno`."""
        return self._pidfd

    def doRead(self) -> None:
        """See `IReadDescriptor.doRead`."""
        self._on_end()

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor.connectionLost`; the owner closes the pidfd."""

    def logPrefix(self) -> str:
        """See `ILoggingContext.logPrefix`."""
        return "devlxd"
