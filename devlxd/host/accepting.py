# -*- test-case-name: tests.host.test_accepting -*-
"""Accepts connections on a listening socket, as many at a time as there are."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.interfaces import IDevLXDReactor
from devlxd.loglimit import RateLimitedLogger

#: For how long connections are accepted before the reactor does something
#: else, in seconds. The queue of a socket is one for all containers: the
#: sooner it is empty, the sooner everybody can connect.
SLICE = 0.01

#: How long to wait when there is nothing to accept with, in seconds.
RETRY = 0.1

#: What ``accept(2)`` says of a connection that is over already.
_OVER = frozenset((errno.ECONNABORTED, errno.EINTR, errno.EPERM, errno.EPROTO))


class ListeningSocket(socket.socket):
    """A UNIX socket whose connections are accepted in a third of the time.

    They are sockets of the kind that Python's own is made of: its `accept` asks
    for what is known here, and makes more of each than is needed to refuse it.
    """

    def accept(self) -> tuple[socket.SocketType, object]:  # type: ignore[override] # less of a socket
        """See `socket.socket.accept`."""
        fileno, address = self._accept()  # type: ignore[attr-defined] # what `accept` calls
        return (
            socket.SocketType(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno),
            address,
        )


@implementer(IReadDescriptor)
class Acceptor:
    """Takes the place of a Twisted port, which makes a protocol for everybody.

    :param listening: a listening socket that does not block; its owner closes
        it.
    :param arrived: is given each connection, to close or to keep.
    :param reactor: tells when there is something to accept.
    :param now: tells the time, in seconds, from no point in particular.
    """

    _log = Logger()

    def __init__(
        self,
        listening: socket.socket,
        arrived: Callable[[socket.SocketType], None],
        reactor: IDevLXDReactor,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._listening = listening
        self._arrived = arrived
        self._reactor = reactor
        self._now = now
        self._retry: IDelayedCall | None = None
        self._limited_log = RateLimitedLogger(self._log, reactor)

    def start(self) -> None:
        """Accept connections from now on."""
        self._retry = None
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept no more; harmless when that is so already."""
        self._reactor.removeReader(self)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def fileno(self) -> int:
        """See `IFileDescriptor.fileno`."""
        return self._listening.fileno()

    def doRead(self) -> None:
        """See `IReadDescriptor.doRead`: accept until there is nothing, or for long."""
        accept, now = self._listening.accept, self._now
        end = now() + SLICE
        while now() < end:
            try:
                connection, _ = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _OVER:
                    self._wait(error)
                    return
            else:
                self._hand_over(connection)

    def _hand_over(self, connection: socket.SocketType) -> None:
        try:
            self._arrived(connection)
        except Exception:
            # The reactor would accept nothing any more.
            self._log.failure("a connection was lost")
            connection.close()

    def _wait(self, error: OSError) -> None:
        """Leave the connections in the queue: there may be no descriptor for one."""
        self._limited_log.error(
            "no connection can be accepted: {reason}",
            of=error.errno,
            reason=error.strerror,
        )
        self._reactor.removeReader(self)
        self._retry = self._reactor.callLater(RETRY, self.start)

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor.connectionLost`: the reactor stops."""

    def logPrefix(self) -> str:
        """See `ILoggingContext.logPrefix`."""
        return "devlxd"
