# -*- test-case-name: tests.host.test_container_sockets -*-
"""A listening socket for each container of a store, as containers come and go."""

from __future__ import annotations

import socket

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.host.container_acceptors import (
    ContainerAcceptors,
    ContainerSocket,
    OnConnection,
)
from devlxd.host.delayed_calls import DelayedCalls
from devlxd.host.kept_directories import KeptDirectories
from devlxd.host.name_queue import NameQueue
from devlxd.host.socket_directories import HandedOverSocket, SocketDirectories
from devlxd.interfaces import (
    IContainerStore,
    IDevLXDReactor,
    IStoreObserver,
    ITurns,
)
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Container
from devlxd.socket_options import refuse_descriptors

#: After which time it is tried again to make a socket, in seconds.
RETRY = 10.0


@implementer(IStoreObserver)
class ContainerSockets:
    """The sockets of the containers of a store.

    They are made and removed in turns: each takes a fraction of a millisecond.

    :param directories: where they are.
    :param store: the containers.
    :param turns: schedules the work.
    :param reactor: calls for connections, and for later attempts.
    :param on_connection: see `OnConnection`.
    :param most: how many sockets may be made; the other containers have none.
    """

    _log = Logger()

    def __init__(
        self,
        directories: SocketDirectories,
        store: IContainerStore,
        turns: ITurns,
        reactor: IDevLXDReactor,
        on_connection: OnConnection,
        most: int,
    ) -> None:
        self._directories = directories
        self._store = store
        self._acceptors = ContainerAcceptors(on_connection, reactor)
        self._most = most
        self._sockets: dict[str, ContainerSocket] = {}
        # The containers without a socket: beyond `most`, or by the reason.
        self._surplus: set[str] = set()
        self._failed: dict[str, str] = {}
        self._kept = KeptDirectories(directories, store.has, reactor)
        # The containers whose sockets may have to be made or removed.
        self._queue = NameQueue(
            turns, directories.address, self._update, self._all_done
        )
        self._loading: Deferred[None] | None = None
        self._awaiting: list[Deferred[None]] = []
        self._calls = DelayedCalls(reactor)
        self._is_running = self._is_loaded = self._is_reported = False
        self._has_surplus = False
        self._limited_log = RateLimitedLogger(self._log, reactor)

    def __len__(self) -> int:
        """Return the number of sockets."""
        return len(self._sockets)

    @property
    def missing(self) -> int:
        """How many containers have no socket, though it was tried."""
        return len(self._failed) + len(self._surplus)

    def problem(self, name: str) -> str | None:
        """Return why a container has no socket, in one line; ``None`` if it has one."""
        if name in self._sockets:
            return None
        if name in self._surplus:
            return f"devlxd makes at most {self._most} (LimitNOFILE=)"
        return self._failed.get(name, "it is not made yet")

    def made(self) -> Deferred[None]:
        """Return a Deferred that fires when all sockets are made, or not any more.

        These are the sockets of the containers that the store has when it is loaded,
        or cannot be loaded.
        """
        made: Deferred[None] = Deferred(self._awaiting.remove)
        if self._is_reported:
            made.callback(None)
        else:
            self._awaiting.append(made)
        return made

    def _fire(self) -> None:
        awaiting, self._awaiting[:] = [*self._awaiting], []
        for deferred in awaiting:
            deferred.callback(None)

    # Start and stop

    def start(self) -> None:
        """Begin to make sockets, after the sockets of the last process are adopted.

        They are adopted in this iteration of the reactor, or in the next one.
        """
        self._is_running = True
        with socket.socket(socket.AF_UNIX) as any_socket:
            # Once: the sockets themselves are too many for a warning about each.
            refuse_descriptors(any_socket)
        self._store.watch(self)
        self._calls.later(
            "begin", 0, lambda: self._calls.later("begin", 0, self._begin)
        )

    def stop(self) -> None:
        """Close and remove all sockets; the directories stay."""
        for name in [*self._sockets]:
            self._close(name)
        self._stop()

    def hand_over(self) -> list[HandedOverSocket]:
        """Stop accepting, and give the sockets up: clients wait for the next process.

        :return: the sockets, whose descriptors are the caller's now.
        """
        handed_over = []
        for name, one in self._sockets.items():
            self._acceptors.stop(one)
            inode, descriptor = one.inode or 0, one.listening.detach()
            handed_over.append(HandedOverSocket(name, descriptor, inode))
        self._sockets.clear()
        self._stop()
        return handed_over

    def adopt(self, one: HandedOverSocket) -> None:
        """Continue with a socket of the last process; close it if that is useless."""
        name, listening = one.container, self._directories.adopt(one)
        if listening is None:
            return
        if name in self._sockets or not self._is_running:
            listening.close()
        else:
            self._sockets[name] = self._acceptors.start(name, listening, one.inode)

    def _stop(self) -> None:
        if not self._is_running:
            return
        self._is_running = self._is_loaded = self._is_reported = False
        self._has_surplus = False
        self._store.unwatch(self)
        self._calls.cancel()
        self._queue.clear()
        loading, self._loading = self._loading, None
        if loading is not None:
            loading.cancel()
        self._acceptors.stop_retrying()
        self._limited_log.stop()
        self._fire()
        self._kept.stop()
        self._surplus.clear()
        self._failed.clear()

    def changed(self, name: str, old: Container | None, new: Container | None) -> None:
        """See `IStoreObserver.changed`."""
        # All are looked at in the beginning.
        if (old is None) != (new is None) and "begin" not in self._calls:
            self._queue.add([name])

    def _begin(self) -> None:
        self._queue.add(self._store.names())
        self._loading = self._store.loaded()
        self._loading.addCallbacks(self._loaded, self._loading_failed)

    def _loading_failed(self, failure: Failure) -> None:
        # Nothing is known of the other containers: what they have stays.
        if not failure.check(CancelledError):
            self._loading = None
            self._queue.add([])

    def _loaded(self, _result: object) -> None:
        """Look at what the last process has left for containers that are gone."""
        self._loading = None
        self._is_loaded = True
        try:
            left = self._directories.names()
        except OSError as error:
            self._log.warn(
                "directories of removed containers in {directory} stay: {reason}",
                directory=self._directories.path,
                reason=error.strerror,
            )
            left = []
        # A container with a broken document has what it had.
        self._queue.add(
            name for name in {*left, *self._sockets} if not self._store.has(name)
        )

    def _update(self, name: str) -> None:
        self._surplus.discard(name)
        if self._store.get(name) is not None:
            self._kept.use(name)
            if name not in self._sockets:
                self._make(name)
        elif self._kept.is_due(name):
            self._kept.remove(name)
        elif self._is_loaded:
            self._remove_socket(name)

    def _all_done(self) -> None:
        if self._failed or self._surplus:
            self._calls.later("retry", RETRY, self._retry)
        left = self._kept.seconds_left()
        if left is not None:
            self._calls.later("expire", left, lambda: self._queue.add(self._kept.due()))
        if self._loading is None:
            self._report()

    def _report(self) -> None:
        """Log the number of sockets once, and that of those that cannot be made."""
        if not self._is_reported:
            self._is_reported = True
            self._log.info(
                "{count} containers have a socket of their own in {directory}",
                count=len(self),
                directory=self._directories.path,
            )
            self._fire()
        if self._has_surplus != bool(self._surplus):
            self._has_surplus = bool(self._surplus)
            if self._surplus:
                self._log.error(
                    "{count} containers have no socket: devlxd makes at most {most}: "
                    "half of its files are for connections (LimitNOFILE=)",
                    count=len(self._surplus),
                    most=self._most,
                )

    def _retry(self) -> None:
        self._queue.add([*self._failed, *self._surplus])

    def _make(self, name: str) -> None:
        if len(self._sockets) >= self._most:
            self._surplus.add(name)
            return
        try:
            listening = self._directories.make(name)
        except OSError as error:
            reason = error.strerror or str(error)
            if self._failed.get(name) != reason:
                self._failed[name] = reason
                self._log_failure(name, error)
            return
        self._failed.pop(name, None)
        inode = self._directories.inode(name)
        self._sockets[name] = self._acceptors.start(name, listening, inode)

    def _log_failure(self, name: str, error: OSError) -> None:
        self._limited_log.error(
            "the socket {directory}/{container}/sock cannot be made or removed: "
            "{reason}",
            of=("socket", error.errno),
            container=name,
            directory=self._directories.path,
            reason=error.strerror or str(error),
        )

    def _close(self, name: str) -> None:
        """Close and remove the socket of a container, if there is one."""
        one = self._sockets.pop(name, None)
        if one is not None:
            self._acceptors.stop(one)
            one.listening.close()
        try:
            self._directories.remove_socket(name)
        except OSError as error:
            self._log_failure(name, error)

    def _remove_socket(self, name: str) -> None:
        """Remove the socket of a removed container now, its directory later."""
        self._close(name)
        self._failed.pop(name, None)
        self._kept.keep(name)
