# -*- test-case-name: tests.peers.test_lives -*-
"""The lives of containers: what is remembered of one while its init lives."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from attrs import frozen
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.interfaces import IIDMap, ILifeObserver, IProcessTable
from devlxd.model import Claim


@frozen
class Life:
    """One run of a container, from the start of its init to its end.

    :ivar number: never given to another one.
    :ivar claim: whose the cgroup of its init is.
    :ivar id_map: the ids of the user namespace of its init.
    :ivar pidfd: names its init.
    """

    number: int
    claim: Claim
    id_map: IIDMap
    pidfd: int


class InitError(Exception):
    """The init of a pid namespace cannot be what a container is known by."""


class Lives:
    """The lives that are known, by the number of their pid namespace.

    An init that ends is heard of through its pidfd, which the reactor watches.

    :param processes: what the kernel says of processes.
    :param claim_of: says whose the cgroup of a process is; it may raise
        whatever it likes.
    :param reactor: watches pidfds.
    """

    _log = Logger()

    def __init__(
        self,
        processes: IProcessTable,
        claim_of: Callable[[int], Claim],
        reactor: IReactorFDSet,
    ) -> None:
        self._processes = processes
        self._claim_of = claim_of
        self._reactor = reactor
        self._lives: dict[int, tuple[Life, _Watch]] = {}
        self._numbers = count(1)
        self.observers: list[ILifeObserver] = []

    def of(self, namespace: int, pid: int) -> Life:
        """Return the life whose pid namespace is ``namespace``.

        :param pid: a process that lives in it or below it.
        :raises InitError: when its init lives elsewhere, or has just ended.
        :raises OSError: when its init cannot be looked at.
        """
        life, _ = self._lives.get(namespace, (None, None))
        if life is not None:
            if self._processes.is_alive(life.pidfd):
                return life
            self._end(namespace)
        return self._begin(namespace, self._processes.init(pid))

    def _begin(self, namespace: int, init: int) -> Life:
        pidfd = self._processes.hold(init)
        try:
            claim = self._claim_of(init)
            id_map = self._processes.id_map(init)
            if list(self._processes.pid_namespaces(init)) != [namespace]:
                raise InitError(f"pid {init} is not its init")
            if not self._processes.is_alive(pidfd):
                raise InitError(f"its init, pid {init}, has ended")
        except BaseException:
            self._processes.let_go(pidfd)
            raise
        life = Life(next(self._numbers), claim, id_map, pidfd)
        watch = _Watch(pidfd, lambda: self._end_if_over(namespace))
        self._lives[namespace] = (life, watch)
        self._reactor.addReader(watch)
        return life

    def _end_if_over(self, namespace: int) -> None:
        # The reactor may have heard of a file descriptor that had this number.
        life, _ = self._lives[namespace]
        if not self._processes.is_alive(life.pidfd):
            self._end(namespace)

    def _end(self, namespace: int) -> None:
        life, watch = self._lives.pop(namespace)
        self._reactor.removeReader(watch)
        self._processes.let_go(life.pidfd)
        for observer in list(self.observers):
            try:
                observer.ended(life.number)
            except Exception:
                self._log.failure("an observer failed on life {n}", n=life.number)

    def forget_all(self) -> None:
        """Let go of every pidfd; what was known has ended for observers."""
        for namespace in list(self._lives):
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
