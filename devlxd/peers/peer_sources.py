# -*- test-case-name: tests.peers.test_peer_sources -*-
"""Connection -> peer: the process that made a connection."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from twisted.internet.interfaces import ISystemHandle, ITransport
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import IAcceptedTransport, IPeerSource, NotInContainer
from devlxd.model import Peer
from devlxd.socket_options import SO_PEERPIDFD, credentials_of, pidfd_of

#: The id that the kernel shows for ids without a mapping
#: (``user_namespaces(7)``).
_OVERFLOW_ID = 65534


@implementer(IPeerSource)
class SocketPeerSource:
    """A source that asks the kernel which process called ``connect()``.

    The peer is fixed at that moment. It stays the same when the socket is passed
    to another process (``SO_PEERCRED``, ``unix(7)``).

    :param peerpidfd: the socket option that returns a pidfd of the peer.
    """

    _log = Logger()

    def __init__(self, peerpidfd: int = SO_PEERPIDFD) -> None:
        self._peerpidfd = peerpidfd
        if not self._has_option():
            self._log.warn(
                "this kernel has no SO_PEERPIDFD (Linux 6.5 and later have it): a "
                "caller that ends before its connection is accepted may be mistaken "
                "for a later process with the same pid"
            )

    def _has_option(self) -> bool:
        """Return whether the kernel returns a pidfd of a peer."""
        one, other = socket.socketpair()
        with one, other:
            try:
                os.close(pidfd_of(one, self._peerpidfd))
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:
                    raise
                return False
        return True

    def open_peer(self, transport: ITransport) -> AbstractContextManager[Peer]:
        """See `IPeerSource.open_peer`."""
        accepted = IAcceptedTransport(transport, None)
        if accepted is not None and accepted.accepted_peer is not None:
            return nullcontext(accepted.accepted_peer)
        return self._open_peer(transport)

    @contextmanager
    def _open_peer(self, transport: ITransport) -> Iterator[Peer]:
        connection = _unix_socket_of(transport)
        try:
            pid, uid, gid = credentials_of(connection)
            pidfd = self._open_pidfd(connection, pid)
        except (OSError, OverflowError) as error:
            raise NotInContainer(f"it has no peer: {error}", "no peer") from error
        try:
            yield Peer(pid, uid, gid, pidfd)
        finally:
            os.close(pidfd)

    def _open_pidfd(self, connection: socket.SocketType, pid: int) -> int:
        """Return a new pidfd of the peer.

        On kernels without the socket option it is opened by ``pid``, which may
        belong to another process by now.

        :raises OSError: if the peer has ended.
        """
        try:
            return pidfd_of(connection, self._peerpidfd)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
        return os.pidfd_open(pid)


def _unix_socket_of(transport: ITransport) -> socket.SocketType:
    """Return the UNIX socket of ``transport``.

    :raises NotInContainer: if it has none.
    """
    system_handle = ISystemHandle(transport, None)
    handle = system_handle.getHandle() if system_handle is not None else None
    if not isinstance(handle, socket.SocketType) or handle.family != socket.AF_UNIX:
        raise NotInContainer("it is not a UNIX socket", "no UNIX socket")
    return handle


@implementer(IPeerSource)
class AnonymousPeerSource:
    """A source of the same unknown peer for every connection, also over TCP.

    For services that do not distinguish callers; see `AssumedIdentifier`.
    """

    @contextmanager
    def open_peer(self, transport: ITransport) -> Iterator[Peer]:
        """See `IPeerSource.open_peer`."""
        yield Peer(pid=0, uid=_OVERFLOW_ID, gid=_OVERFLOW_ID)
