# -*- test-case-name: tests.peers.test_credentials -*-
"""Connection -> peer: what the kernel says of the other end."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.interfaces import ISystemHandle, ITransport
from zope.interface import implementer

from devlxd.interfaces import IPeerSource, NotInContainer
from devlxd.model import Peer

#: ``struct ucred``: pid, uid, gid. The ids are unsigned.
_UCRED = struct.Struct("iII")

#: What the kernel says of ids that it cannot map (``user_namespaces(7)``).
_NOBODY = 65534

_PIDFD = struct.Struct("i")

#: From ``asm-generic/socket.h``, since Linux 6.5; Python does not name it yet.
SO_PEERPIDFD = 77


@implementer(IPeerSource)
class SocketPeerSource:
    """Asks the kernel who called ``connect()`` at the other end of a socket.

    The answer was fixed at that moment: whoever holds the socket now does
    not change it (``unix(7)``, ``SO_PEERCRED``).
    """

    @contextmanager
    def hold(self, transport: ITransport) -> Iterator[Peer]:
        """See `devlxd.interfaces.IPeerSource.hold`."""
        peer = _peer(transport)
        try:
            yield peer
        finally:
            if peer.pidfd is not None:
                os.close(peer.pidfd)


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


def _peer(transport: ITransport) -> Peer:
    system_handle = ISystemHandle(transport, None)
    if system_handle is None:
        raise NotInContainer("a transport without a socket")
    handle = system_handle.getHandle()
    if not isinstance(handle, socket.socket) or handle.family != socket.AF_UNIX:
        raise NotInContainer("a peer on no UNIX socket")
    try:
        ucred = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, gid = _UCRED.unpack(ucred)
        return Peer(pid, uid, gid, _pidfd(handle))
    except OSError as error:
        raise NotInContainer(f"no credentials: {error}") from error


def _pidfd(handle: socket.socket) -> int | None:
    """Ask for a pidfd of the peer.

    :return: ``None`` on a kernel before 6.5.
    :raises OSError: when the peer is gone already.
    """
    try:
        option = handle.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, _PIDFD.size)
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return None
        raise
    (pidfd,) = _PIDFD.unpack(option)
    return int(pidfd)
