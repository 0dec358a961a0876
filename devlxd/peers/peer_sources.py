# -*- test-case-name: tests.peers.test_peer_sources -*-
"""Connection -> peer: what the kernel says of the other end."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.interfaces import ISystemHandle, ITransport
from twisted.logger import Logger
from zope.interface import implementer

from devlxd.interfaces import IPeerSource, NotInContainer
from devlxd.model import Peer
from devlxd.socket_options import SO_PEERPIDFD, credentials_of, pidfd_of

#: What the kernel says of ids that it cannot map (``user_namespaces(7)``).
_NOBODY = 65534


@implementer(IPeerSource)
class SocketPeerSource:
    """Asks the kernel who called ``connect()`` at the other end of a socket.

    The answer was fixed at that moment: whoever holds the socket now does
    not change it (``unix(7)``, ``SO_PEERCRED``).

    :param peerpidfd: the socket option that gives a pidfd of that process.
    """

    _log = Logger()

    def __init__(self, peerpidfd: int = SO_PEERPIDFD) -> None:
        self._peerpidfd = peerpidfd
        if not self._kernel_has_pidfds():
            self._log.warn(
                "this kernel has no SO_PEERPIDFD (Linux 6.5 has): a caller that "
                "ends before it was accepted may be taken for another one that "
                "was given its pid since"
            )

    def _kernel_has_pidfds(self) -> bool:
        one, other = socket.socketpair()
        with one, other:
            try:
                os.close(pidfd_of(one, self._peerpidfd))
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:
                    raise
                return False
        return True

    @contextmanager
    def hold(self, transport: ITransport) -> Iterator[Peer]:
        """See `devlxd.interfaces.IPeerSource.hold`."""
        handle = _handle(transport)
        try:
            pid, uid, gid = credentials_of(handle)
            pidfd = self._hold(handle, pid)
        except (OSError, OverflowError) as error:
            raise NotInContainer(f"no peer: {error}", "no peer") from error
        try:
            yield Peer(pid, uid, gid, pidfd)
        finally:
            os.close(pidfd)

    def _hold(self, handle: socket.socket, pid: int) -> int:
        """Return a pidfd of the peer.

        :raises OSError: when the peer is gone already.
        """
        try:
            return pidfd_of(handle, self._peerpidfd)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
        return os.pidfd_open(pid)


@implementer(IPeerSource)
class AnonymousPeerSource:
    """Says of every connection that nobody in particular is there.

    For services that take every caller for the same one, whatever it is that
    they listen at.
    """

    @contextmanager
    def hold(self, transport: ITransport) -> Iterator[Peer]:
        """See `devlxd.interfaces.IPeerSource.hold`."""
        yield Peer(pid=0, uid=_NOBODY, gid=_NOBODY)


def _handle(transport: ITransport) -> socket.socket:
    system_handle = ISystemHandle(transport, None)
    handle = system_handle.getHandle() if system_handle is not None else None
    if not isinstance(handle, socket.socket) or handle.family != socket.AF_UNIX:
        raise NotInContainer("a connection on no UNIX socket", "no UNIX socket")
    return handle
