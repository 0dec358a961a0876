# -*- test-case-name: tests.test_each_listener -*-
"""Listening for guests on a socket for each container."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from devlxd.guestapi.dialect import Dialect
from devlxd.host.container_sockets import ContainerSockets
from devlxd.host.socket_directories import HandedOverSocket, SocketDirectories
from devlxd.host.socket_files import SocketFile
from devlxd.httpserver.connection_limiter import ConnectionLimiter
from devlxd.httpserver.connection_state import ConnectionState, state_of
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import IContainerStore, IDevLXDReactor, ITurns
from devlxd.model import HandedOver, JSONValue, Listener, Result, Step


class EachListener(Service):
    """A service that serves one dialect on a socket for each container of a store.

    It has the methods of `devlxd.guest_listener.GuestListener`.

    :param directories: where the sockets are.
    :param make_site: returns the site; its parameter is a function that returns the
        number of sockets.
    :param most: how many sockets may be made; default: as many as containers.
    """

    _log = Logger()

    def __init__(
        self,
        directories: SocketDirectories,
        make_site: Callable[[Callable[[], int]], DevLXDSite],
        dialect: Dialect,
        store: IContainerStore,
        turns: ITurns,
        reactor: IDevLXDReactor,
        most: int = sys.maxsize,
    ) -> None:
        self.site = make_site(lambda: len(self._sockets))
        self.dialect = dialect
        self._directories = directories
        self._limiter = ConnectionLimiter(self.site, reactor)
        self._sockets = ContainerSockets(
            directories,
            store,
            turns,
            reactor,
            self._limiter.connection_accepted,
            most,
        )
        #: Where the connections of this service were accepted, in their records.
        self._place: dict[str, JSONValue] = {
            "listener": directories.address,
            "dialect": dialect.name,
        }
        #: The directory in which the sockets are made; ``None`` while there are none.
        self._file: SocketFile | None = None

    @property
    def listener(self) -> Listener:
        """The place of all sockets, for operators, as one endpoint."""
        is_listening = self._file is not None and self._file.is_there()
        return Listener(
            self.dialect.name,
            self._directories.address,
            is_listening,
            len(self._sockets),
            self._sockets.missing,
        )

    def made(self) -> Deferred[None]:
        """See `ContainerSockets.made`."""
        return self._sockets.made()

    def explain(self, container: str) -> Step:
        """Return the check of the socket that a container has to call."""
        path = self._directories.socket_path(container)
        problem = self._sockets.problem(container)
        check = f"socket for {self.dialect.name}"
        if problem is None:
            return Step(check, Result.PASSED, f"{container} must call {path}")
        return Step(check, Result.FAILED, f"{path} is missing: {problem}")

    def privilegedStartService(self) -> None:
        """See `IService.privilegedStartService`: lock the directory.

        :raises CannotListenError: if sockets cannot be made in it, or another process
            makes them there.
        """
        super().privilegedStartService()
        self._open()

    def startService(self) -> None:
        """See `IService.startService`: begin to make the sockets."""
        super().startService()
        self._open()
        self._sockets.start()

    def _open(self) -> None:
        if self._file is None:
            self._directories.acquire()
            self._file = SocketFile.at(self._directories.path)
            self.site.doStart()
            self._log.info(
                "{dialect} guests are served at {address}",
                dialect=self.dialect.name,
                address=self._directories.address,
            )

    def stopService(self) -> Deferred[None]:
        """See `IService.stopService`.

        :return: a Deferred that fires when every connection is closed.
        """
        super().stopService()
        self.abandon()
        return self.site.close_connections()

    def abandon(self) -> None:
        """Remove the sockets, and unlock the directory, at once."""
        self._sockets.stop()
        self._limiter.close()
        self._directories.release()
        if self._file is not None:
            self._file = None
            self.site.doStop()

    def hand_over(self) -> Deferred[list[HandedOver]]:
        """Stop accepting, and detach sockets and connections for the next process.

        See `devlxd.service.DevLXDService.hand_over`. While there is no process, new
        clients wait in the queues of the sockets.
        """
        sockets = [
            HandedOver(
                one.descriptor,
                {"socket": one.container, "inode": one.inode, **self._place},
            )
            for one in self._sockets.hand_over()
        ]
        accepted = [(fd, ConnectionState()) for fd in self._limiter.hand_over()]
        captured = self.site.hand_over()
        return captured.addCallback(
            lambda captured: [
                *sockets,
                *(
                    HandedOver(descriptor, {**state.as_record(), **self._place})
                    for descriptor, state in (*accepted, *captured)
                ),
            ]
        )

    def adopt(self, connections: Iterable[HandedOver]) -> list[HandedOver]:
        """Continue what was handed over by a service with the same directory.

        :return: the other connections, and those with a record that cannot be read.
            They are still the caller's.
        """
        return [one for one in connections if not self._adopted(one)]

    def _adopted(self, one: HandedOver) -> bool:
        """Return whether a descriptor belongs to this service now."""
        record = one.record
        if any(record.get(name) != value for name, value in self._place.items()):
            return False
        match record:
            case {"socket": str(container), "inode": int(inode)}:
                self._sockets.adopt(HandedOverSocket(container, one.descriptor, inode))
                return True
        try:
            state = state_of(record)
        except ValueError:
            return False
        self._limiter.continue_from(one.descriptor, state)
        return True
