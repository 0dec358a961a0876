# -*- test-case-name: tests.host.test_container_acceptors -*-
"""Accepting connections on thousands of sockets, one for each container.

Each socket has a queue of its own, so that a container whose queue is full delays
nobody else. There is no hurry to empty it, and a container that connects without end
costs the others little:

* one connection of each socket is admitted in one iteration of the reactor;
* a socket with many useless connections, which are refused or closed by the guest
  already, is left alone for a moment.

A reader is small: what `devlxd.host.accepting.Acceptor` has for each socket is here
once for all.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.host.accepting import OF_ONE_CONNECTION, RETRY, ListeningSocket
from devlxd.host.delayed_calls import DelayedCalls
from devlxd.interfaces import IDevLXDReactor
from devlxd.log_limit import RateLimitedLogger

#: How many useless connections of one socket are closed in one iteration of the
#: reactor. Guests that have done nothing wrong wait behind them.
USELESS = 4

#: For how long nothing is accepted from a socket with more of them, in seconds.
PAUSE = 0.001

#: Called with each connection, and the container whose socket was called. It keeps the
#: connection and returns true, or closes it.
OnConnection = Callable[[socket.SocketType, str], bool]


@implementer(IReadDescriptor)
class ContainerSocket:
    """The listening socket of one container, a reader that accepts connections.

    :ivar name: the name of the container.
    :ivar listening: the socket.
    :ivar inode: see `SocketDirectories.inode`.
    """

    __slots__ = ("_acceptors", "inode", "listening", "name")

    def __init__(
        self,
        name: str,
        listening: ListeningSocket,
        inode: int | None,
        acceptors: ContainerAcceptors,
    ) -> None:
        self.name = name
        self.listening = listening
        self.inode = inode
        self._acceptors = acceptors

    def fileno(self) -> int:
        """See `IFileDescriptor.fileno`."""
        return self.listening.fileno()

    def doRead(self) -> None:
        """See `IReadDescriptor.doRead`: accept some connections."""
        self._acceptors.accept_from(self)

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor.connectionLost`; the owner closes the socket."""

    def logPrefix(self) -> str:
        """See `ILoggingContext.logPrefix`."""
        return "devlxd"


class ContainerAcceptors:
    """The readers of the sockets of all containers.

    :param on_connection: see `OnConnection`.
    :param reactor: calls the readers.
    """

    _log = Logger()

    def __init__(self, on_connection: OnConnection, reactor: IDevLXDReactor) -> None:
        self._on_connection = on_connection
        self._reactor = reactor
        self._calls = DelayedCalls(reactor)
        #: The sockets that are left alone, by the number of seconds.
        self._paused: dict[float, set[ContainerSocket]] = {PAUSE: set(), RETRY: set()}
        self._limited_log = RateLimitedLogger(self._log, reactor)

    def start(
        self, name: str, listening: ListeningSocket, inode: int | None
    ) -> ContainerSocket:
        """Start accepting the connections of a socket.

        :param listening: in non-blocking mode; the caller closes it after `stop`.
        """
        started = ContainerSocket(name, listening, inode, self)
        self._reactor.addReader(started)
        return started

    def stop(self, started: ContainerSocket) -> None:
        """Stop accepting the connections of a socket."""
        for paused in self._paused.values():
            paused.discard(started)
        self._reactor.removeReader(started)

    def stop_retrying(self) -> None:
        """Cancel what is pending; call this when all sockets are stopped."""
        self._calls.cancel()
        self._limited_log.stop()

    def accept_from(self, started: ContainerSocket) -> None:
        """Accept a connection of a socket; before it, close some useless ones."""
        for _ in range(USELESS):
            try:
                connection, _address = started.listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in OF_ONE_CONNECTION:
                    self._log_error(error)
                    self._pause(started, RETRY)
                    return
            else:
                if self._hand_over(connection, started.name):
                    return
        self._pause(started, PAUSE)

    def _hand_over(self, connection: socket.SocketType, name: str) -> bool:
        try:
            return self._on_connection(connection, name)
        except Exception:
            # If doRead() raised it, the reactor would remove this reader.
            self._log.failure("a new connection failed and is closed")
            connection.close()
            return False

    def _log_error(self, error: OSError) -> None:
        self._limited_log.error(
            "connections cannot be accepted, retrying: {reason}",
            of=error.errno,
            reason=error.strerror,
        )

    def _pause(self, started: ContainerSocket, seconds: float) -> None:
        """Accept nothing from a socket; its connections stay in the queue."""
        self._reactor.removeReader(started)
        self._paused[seconds].add(started)
        self._calls.later(str(seconds), seconds, partial(self._resume, seconds))

    def _resume(self, seconds: float) -> None:
        paused, self._paused[seconds] = self._paused[seconds], set()
        for one in paused:
            self._reactor.addReader(one)
