# -*- test-case-name: tests.peers.test_runs -*-
"""The runs of containers: what is remembered of one while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from attrs import frozen
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
from devlxd.model import Claim
from devlxd.peers.claims import Placed


@frozen
class Run:
    """One run of a container, from the start of its init to its end.

    It ends with the init's monitor as well: an init that has outlived its
    monitor runs beside whatever is started under its name next.

    :ivar number: never given to another one.
    :ivar namespace: its pid namespace.
    :ivar claim: whose the cgroup of its init is.
    :ivar owner: whose it is, when the runtime was asked to confirm that.
    :ivar id_map: the ids of the user namespace of its init.
    :ivar pidfds: name its init, and the init's monitor if it has one.
    """

    number: int
    namespace: int
    claim: Claim
    owner: Claim
    id_map: IIDMap
    pidfds: tuple[int, ...]


class InitError(NotInContainer):
    """The init of a pid namespace cannot be what a container is known by."""


class Runs:
    """The runs that are known, by the number of their pid namespace.

    What ends is heard of through its pidfd, which the reactor watches.

    :param processes: what the kernel says of processes.
    :param place: finds out whose an init is; it may raise whatever it likes.
    :param reactor: watches pidfds.
    """

    _log = Logger()

    def __init__(
        self,
        processes: IProcessTable,
        place: Callable[[int], Placed],
        reactor: IReactorFDSet,
    ) -> None:
        self._processes = processes
        self._place = place
        self._reactor = reactor
        self._runs: dict[int, tuple[Run, Sequence[_Watch]]] = {}
        self._numbers = count(1)
        self.observers: list[IRunObserver] = []

    def of(self, namespace: int, pid: int) -> Run:
        """Return the run whose pid namespace is ``namespace``.

        :param pid: a process that lives in it or below it.
        :raises InitError: when its init lives elsewhere, or has just ended.
        :raises OSError: when its init cannot be looked at.
        """
        run, _ = self._runs.get(namespace, (None, None))
        if run is not None:
            if self.goes_on(run):
                return run
            self._end(namespace)
        return self._begin(namespace, self._processes.init(pid))

    def goes_on(self, run: Run) -> bool:
        """Tell whether a run has not ended, even if nobody has heard of that."""
        return self._knows(run) and all(map(self._processes.is_alive, run.pidfds))

    def _knows(self, run: Run) -> bool:
        known, _ = self._runs.get(run.namespace, (None, None))
        return known is run

    def end(self, run: Run) -> None:
        """Let a run end for observers, whatever its init does."""
        if self._knows(run):
            self._end(run.namespace)

    def _begin(self, namespace: int, init: int) -> Run:
        pidfds = [self._processes.hold(init)]
        try:
            placed = self._place(init)
            if placed.monitor is not None:
                pidfds.append(placed.monitor)
            id_map = self._processes.id_map(init)
            if list(self._processes.pid_namespaces(init)) != [namespace]:
                raise InitError(f"pid {init} is not its init", "init")
            if not self._processes.is_alive(pidfds[0]):
                raise InitError(f"its init, pid {init}, has ended", "init")
        except BaseException:
            self._let_go(pidfds)
            raise
        number = next(self._numbers)
        run = Run(number, namespace, placed.claim, placed.owner, id_map, tuple(pidfds))
        watches = [_Watch(fd, lambda: self._end_if_over(run)) for fd in pidfds]
        self._runs[namespace] = (run, watches)
        for watch in watches:
            self._reactor.addReader(watch)
        return run

    def _end_if_over(self, run: Run) -> None:
        # The reactor may have heard of a file descriptor that had this number.
        if self._knows(run) and not self.goes_on(run):
            self._end(run.namespace)

    def _let_go(self, pidfds: Sequence[int]) -> None:
        for pidfd in pidfds:
            self._processes.let_go(pidfd)

    def _end(self, namespace: int) -> None:
        run, watches = self._runs.pop(namespace)
        for watch in watches:
            self._reactor.removeReader(watch)
        self._let_go(run.pidfds)
        for observer in list(self.observers):
            try:
                observer.ended(run.number)
            except Exception:
                self._log.failure("an observer failed on run {n}", n=run.number)

    def forget_all(self) -> None:
        """Let go of every pidfd; what was known has ended for observers."""
        for namespace in list(self._runs):
            self._end(namespace)


@implementer(IReadDescriptor)
class _Watch:
    """Waits for a process to end."""

    def __init__(self, pidfd: int, ended: Callable[[], None]) -> None:
        self._pidfd = pidfd
        self._ended = ended

    def fileno(self) -> int:
        """Return the pidfd."""
        return self._pidfd

    def doRead(self) -> None:
        """Hear that it has ended."""
        self._ended()

    def connectionLost(self, reason: Failure) -> None:
        """Hear that the reactor stops."""

    def logPrefix(self) -> str:
        """Return what log lines are said to be of."""
        return "devlxd"
