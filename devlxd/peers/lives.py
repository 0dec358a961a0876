# -*- test-case-name: tests.peers.test_lives -*-
"""The lives of containers: what is remembered of one while it runs."""

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
    ILifeObserver,
    IProcessTable,
    NotInContainer,
)
from devlxd.model import Claim
from devlxd.peers.claims import Placed


@frozen
class Life:
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


class Lives:
    """The lives that are known, by the number of their pid namespace.

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
        self._lives: dict[int, tuple[Life, Sequence[_Watch]]] = {}
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
            if self.goes_on(life):
                return life
            self._end(namespace)
        return self._begin(namespace, self._processes.init(pid))

    def goes_on(self, life: Life) -> bool:
        """Tell whether a life has not ended, even if nobody has heard of that."""
        return self._knows(life) and all(map(self._processes.is_alive, life.pidfds))

    def _knows(self, life: Life) -> bool:
        known, _ = self._lives.get(life.namespace, (None, None))
        return known is life

    def end(self, life: Life) -> None:
        """Let a life end for observers, whatever its init does."""
        if self._knows(life):
            self._end(life.namespace)

    def _begin(self, namespace: int, init: int) -> Life:
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
        life = Life(
            number, namespace, placed.claim, placed.owner, id_map, tuple(pidfds)
        )
        watches = [_Watch(fd, lambda: self._end_if_over(life)) for fd in pidfds]
        self._lives[namespace] = (life, watches)
        for watch in watches:
            self._reactor.addReader(watch)
        return life

    def _end_if_over(self, life: Life) -> None:
        # The reactor may have heard of a file descriptor that had this number.
        if self._knows(life) and not self.goes_on(life):
            self._end(life.namespace)

    def _let_go(self, pidfds: Sequence[int]) -> None:
        for pidfd in pidfds:
            self._processes.let_go(pidfd)

    def _end(self, namespace: int) -> None:
        life, watches = self._lives.pop(namespace)
        for watch in watches:
            self._reactor.removeReader(watch)
        self._let_go(life.pidfds)
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
