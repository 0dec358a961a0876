# -*- test-case-name: tests.test_socket_options -*-
"""Socket options of UNIX sockets, mainly about the peers of connections.

The kernel describes the process that called ``connect()``, even if another process
holds the socket now (``unix(7)``). This is sufficient for limits and for log lines.
Callers are identified by `devlxd.peers` alone.

The functions that have a connection as their parameter accept any object with the
method ``getsockopt``.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from collections.abc import Hashable

from twisted.logger import Logger

from devlxd.model import Peer
from devlxd.pidfds import cgroup_id_of

#: The option that returns a pidfd of the peer: from ``asm-generic/socket.h``, since
#: Linux 6.5.
SO_PEERPIDFD = 77

#: The option that determines whether a socket receives file descriptors: from
#: ``asm-generic/socket.h``, since Linux 6.16. An accepted connection inherits it
#: from its listening socket.
SO_PASSRIGHTS = 83

#: ``struct ucred``: pid, uid, gid. The ids are unsigned.
_UCRED = struct.Struct("iII")

#: How much of ``/proc/PID/cgroup`` is read, in bytes. A guest can make it long.
MAX_CGROUPS_SIZE = 64 * 1024

_log = Logger()


def credentials_of(connection: socket.SocketType) -> tuple[int, int, int]:
    """Return the pid, uid and gid of the peer, as this process sees them.

    The kernel recorded them when the peer called ``connect()``, or ``listen()`` if
    the peer is the server.

    :raises OSError: if the kernel does not know them.
    """
    ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(ucred)
    return pid, uid, gid


def pidfd_of(connection: socket.SocketType, option: int = SO_PEERPIDFD) -> int:
    """Return a new pidfd of the peer. The caller closes it.

    :param option: the socket option to use.
    :raises OSError: with ``ENOPROTOOPT`` when the kernel has no such option,
        with another ``errno`` when the peer has ended.
    """
    return connection.getsockopt(socket.SOL_SOCKET, option)


class AcceptedPeer:
    """The peer of a connection that was accepted: its facts are asked for once.

    :param connection: the connection.
    :ivar pid: the pid of the peer, see `credentials_of`.
    :raises OSError: if the kernel does not know the peer.
    """

    def __init__(self, connection: socket.SocketType) -> None:
        self._connection = connection
        self.pid, self._uid, self._gid = credentials_of(connection)
        self._pidfd: int | None = None

    def cgroup(self) -> Hashable:
        """Return a value that identifies the cgroup of the peer.

        :return: the id of the cgroup; before Linux 6.13 a hash of all cgroups of the
            peer; ``None`` if the peer has ended.
        """
        try:
            cgroup_id = cgroup_id_of(self._open_pidfd())
        except OSError:
            cgroup_id = None
        return cgroup_id or _hash_of_cgroups(self.pid)

    def identity(self) -> Peer | None:
        """Return what identifies the peer; its pidfd is open until `close`.

        :return: ``None`` if the kernel returns no pidfd of it.
        """
        try:
            return Peer(self.pid, self._uid, self._gid, self._open_pidfd())
        except OSError:
            return None

    def _open_pidfd(self) -> int:
        if self._pidfd is None:
            self._pidfd = pidfd_of(self._connection)
        return self._pidfd

    def close(self) -> None:
        """Close the pidfd."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def _hash_of_cgroups(pid: int) -> bytes | None:
    try:
        fd = os.open(f"/proc/{pid}/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(fd, MAX_CGROUPS_SIZE)
    except OSError:
        return None
    finally:
        os.close(fd)
    return hashlib.blake2b(text, digest_size=16).digest()


def refuses_descriptors(connection: socket.SocketType) -> bool:
    """Return whether the kernel refuses the file descriptors that the peer sends."""
    try:
        return not connection.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS)
    except OSError:
        return False


def refuse_descriptors(listening: socket.socket) -> None:
    """Make the kernel refuse the file descriptors that peers send.

    Closing such a descriptor can block for as long as its sender chooses: it may be
    a socket that lingers (``SO_LINGER``, ``socket(7)``).

    Before Linux 6.16 this is not possible, and a warning is logged.

    :param listening: the listening socket. This affects the connections that it
        accepts.
    """
    if not deny_descriptors(listening):
        _log.warn(
            "this kernel has no SO_PASSRIGHTS (Linux 6.16 and later have it): a guest "
            "can block this process with file descriptors that it sends along"
        )


def deny_descriptors(listening: socket.socket) -> bool:
    """Do what `refuse_descriptors` does, without a warning.

    :return: whether the kernel can do it.
    """
    try:
        listening.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
    except OSError:
        return False
    return True


def is_listening(descriptor: int) -> bool:
    """Return whether a file descriptor is that of a listening socket."""
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    finally:
        connection.detach()
