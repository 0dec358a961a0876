# -*- test-case-name: tests.httpserver.test_connection_limiter -*-
"""Limits on accepted connections, before transports and channels are created."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Hashable
from functools import partial

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from devlxd.httpserver.channel import DevLXDChannel
from devlxd.httpserver.connection_state import ConnectionState
from devlxd.httpserver.prompt_transport import transport_class
from devlxd.httpserver.registry import UNIDENTIFIED
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import IDevLXDReactor, ITurn
from devlxd.log_limit import RateLimitedLogger
from devlxd.model import Peer
from devlxd.socket_options import AcceptedPeer

#: The flags that look for data without reading it. Combining them in each call is slow.
_PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)

#: The address of every peer: theirs have no names.
_ADDRESS = UNIXAddress("")

#: Stands for the owner of a process that is not remembered; ``None`` is a valid owner.
_UNKNOWN = object()


class ConnectionLimiter:
    """A limit on the number and the rate of the new connections of each owner.

    The owner of a new connection is guessed from recent identifications of its
    process or cgroup. Surplus connections are closed after a few system calls,
    before a transport is created. The caller of an admitted connection is always
    identified anew.

    :param site: creates the channels of admitted connections.
    :param reactor: notifies the transports of admitted connections.
    """

    _log = Logger()

    def __init__(
        self,
        site: DevLXDSite,
        reactor: IDevLXDReactor,
    ) -> None:
        self._site = site
        self._registry = site.server.registry
        self._reactor = reactor
        self._transport_class = transport_class()
        # The number of connections of each owner that wait for a turn.
        self._pending: Counter[Hashable] = Counter()
        self._waiting: dict[socket.SocketType, ITurn] = {}
        # Processes whose connections are refused in this reactor iteration.
        self._refused_pids: set[int] = set()
        self._next_iteration: IDelayedCall | None = None
        self._limited_log = RateLimitedLogger(self._log, reactor, site.server.limits)

    def connection_accepted(
        self, connection: socket.SocketType, guess: Hashable = UNIDENTIFIED
    ) -> bool:
        """Admit an accepted connection, now or in a turn of its owner, or close it.

        :param guess: the owner if nothing is remembered of the peer.
        :return: whether the connection is, or will be, admitted.
        """
        try:
            peer = AcceptedPeer(connection)
        except OSError:
            connection.close()
            return False
        try:
            return self._accept(connection, peer, guess)
        finally:
            peer.close()

    def _accept(
        self, connection: socket.SocketType, peer: AcceptedPeer, guess: Hashable
    ) -> bool:
        sent, pid = _first_byte(connection), peer.pid
        if pid in self._refused_pids or sent == b"":
            connection.close()
            return False
        cgroup: Hashable = None
        owner = self._registry.processes.get(pid, _UNKNOWN)
        if owner is _UNKNOWN:
            cgroup = peer.cgroup()
            owner = self._registry.cgroups.get(cgroup, guess)
        if not self._registry.may_add(owner, self._pending[owner]):
            connection.close()
            self._refuse(owner, pid)
            return False
        if self._registry.may_connect_now(owner):
            channel = self._admit(connection, peer, cgroup)
            if sent is not None:
                self._receive(channel, is_turn=False)
        else:
            self._pending[owner] += 1
            turn = partial(self._admit_in_turn, owner, connection, cgroup)
            self._waiting[connection] = self._registry.take_turn(owner, turn)
        return True

    def _refuse(self, owner: Hashable, pid: int) -> None:
        """Refuse further connections of a process in this iteration of the reactor.

        They are refused without another notification or log line.
        """
        if not self._refused_pids:
            self._next_iteration = self._reactor.callLater(0, self._iterate)
        self._refused_pids.add(pid)
        self._site.server.admission.refused(owner)

    def _iterate(self) -> None:
        self._next_iteration = None
        self._refused_pids.clear()

    def close(self) -> None:
        """Close the pending connections.

        Call this when no more connections are accepted.
        """
        for descriptor in self.hand_over():
            os.close(descriptor)
        if self._next_iteration is not None:
            self._next_iteration.cancel()
            self._iterate()
        self._limited_log.stop()

    def hand_over(self) -> list[int]:
        """Give up the connections that wait for their turns.

        :return: their file descriptors, which are the caller's now.
        """
        waiting, self._waiting = self._waiting, {}
        self._pending.clear()
        for turn in waiting.values():
            turn.cancel()
        return [connection.detach() for connection in waiting]

    def continue_from(self, descriptor: int, state: ConnectionState) -> None:
        """Continue a connection of the last process, which does not wait for a turn.

        :param descriptor: the file descriptor of its socket, which the connection
            owns from now on.
        """
        channel = self._site.continuing(state).buildProtocol(_ADDRESS)
        self._connect(channel, descriptor)

    def _admit_in_turn(
        self, owner: Hashable, connection: socket.SocketType, cgroup: Hashable
    ) -> None:
        del self._waiting[connection]
        self._pending[owner] -= 1
        if not self._pending[owner]:
            del self._pending[owner]
        sent = _first_byte(connection)
        if sent == b"":
            connection.close()
            return
        peer = AcceptedPeer(connection)
        try:
            channel = self._admit(connection, peer, cgroup)
            if sent is not None:
                # The guess of the owner may be wrong.
                self._receive(channel, is_turn=owner == channel.owner)
        finally:
            peer.close()

    def _admit(
        self, connection: socket.SocketType, peer: AcceptedPeer, cgroup: Hashable
    ) -> DevLXDChannel:
        channel, identity = self._site.buildProtocol(_ADDRESS), peer.identity()
        self._connect(channel, connection.detach(), identity)
        # The new channel has identified the caller, and remembered the owner of the
        # process. It is also the owner of the cgroup.
        owner = self._registry.processes.get(peer.pid, None)
        if owner is not None:
            self._registry.cgroups.put(cgroup, owner)
        return channel

    def _receive(self, channel: DevLXDChannel, is_turn: bool) -> None:
        """Receive what a client has sent already, before the reactor reports it.

        :param is_turn: whether this is a turn of the owner of the channel.
        """
        if not channel.connected:
            return
        try:
            channel.receive_now(is_turn)
        except BaseException:
            channel.forceAbortClient()
            raise

    def _connect(
        self, channel: DevLXDChannel, descriptor: int, peer: Peer | None = None
    ) -> None:
        """Create the transport of a channel; report it if that is not possible.

        :param peer: the peer of the connection, if it is known.
        """
        try:
            connection = socket.socket(
                socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor
            )
        except OSError as error:
            os.close(descriptor)
            self._report(error)
            return
        try:
            transport = self._transport_class(connection, channel, self._reactor)
        except OSError as error:
            connection.close()
            self._report(error)
            return
        transport.accepted_peer = peer
        try:
            channel.makeConnection(transport)
        except BaseException:
            transport.abortConnection()
            raise
        finally:
            transport.accepted_peer = None

    def _report(self, error: OSError) -> None:
        self._limited_log.error(
            "a new connection cannot be set up and is closed: {reason}",
            of=error.errno,
            reason=error.strerror,
        )


def _first_byte(connection: socket.SocketType) -> bytes | None:
    """Return the first byte that the peer has sent, without receiving it.

    :return: empty if the peer has closed the connection without sending anything;
        ``None`` if it has not sent anything yet.
    """
    try:
        return connection.recv(1, _PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return b""
