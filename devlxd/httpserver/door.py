# -*- test-case-name: tests.httpserver.test_door -*-
"""The door: which connections become transports and channels, and when."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Hashable
from functools import partial

from twisted.logger import Logger

from devlxd.httpserver.registry import STRANGERS
from devlxd.httpserver.site import DevLXDSite
from devlxd.interfaces import IDevLXDReactor
from devlxd.loglimit import RateLimitedLogger
from devlxd.socket_options import cgroup_of, credentials_of

#: To look whether there is something to read; Python takes long to put it together.
_PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)

#: What is no owner.
_UNKNOWN = object()


class Door:
    """Lets connections in, each owner's in its turn.

    A flood of connections costs a few system calls for each: a container's
    surplus is closed before anything is made for it, and by what has been found
    out of the process already. Who is let in is identified all the same.

    :param site: makes the channels of connections.
    :param reactor: makes their transports.
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
        self._waiting: Counter[Hashable] = Counter()
        # The processes of those who have too many, for a moment.
        self._crowding: set[int] = set()
        self._is_closed = False
        self._limited_log = RateLimitedLogger(self._log, reactor)

    def arrived(self, connection: socket.SocketType) -> None:
        """Take a connection that was accepted: let it in, let it wait, or close it."""
        try:
            pid, _uid, _gid = credentials_of(connection)
        except OSError:
            connection.close()
            return
        if pid in self._crowding or _is_over(connection):
            connection.close()
            return
        cgroup: Hashable = None
        owner = self._registry.processes.get(pid, _UNKNOWN)
        if owner is _UNKNOWN:
            cgroup = cgroup_of(connection, pid)
            owner = self._registry.cgroups.get(cgroup, STRANGERS)
        if not self._registry.has_room(owner, self._waiting[owner]):
            connection.close()
            self._refuse(owner, pid)
        elif self._registry.may_come_now(owner):
            self._let_in(connection, pid, cgroup)
        else:
            self._waiting[owner] += 1
            turn = partial(self._its_turn, owner, connection, pid, cgroup)
            self._registry.take_turn(owner, turn)

    def _refuse(self, owner: Hashable, pid: int) -> None:
        """Refuse what else this process connects in this iteration of the reactor."""
        if not self._crowding:
            self._reactor.callLater(0, self._crowding.clear)
        self._crowding.add(pid)
        self._site.server.admission.refused(owner)

    def close(self) -> None:
        """Let nobody in any more, who waits included."""
        self._is_closed = True

    def _its_turn(
        self,
        owner: Hashable,
        connection: socket.SocketType,
        pid: int,
        cgroup: Hashable,
    ) -> None:
        self._waiting[owner] -= 1
        if not self._waiting[owner]:
            del self._waiting[owner]
        if self._is_closed or _is_over(connection):
            connection.close()
        else:
            self._let_in(connection, pid, cgroup)

    def _let_in(
        self, connection: socket.SocketType, pid: int, cgroup: Hashable
    ) -> None:
        connection.setblocking(False)
        with contextlib.closing(connection):
            try:
                # The transport has a descriptor of its own.
                self._reactor.adoptStreamConnection(
                    connection.fileno(),
                    socket.AF_UNIX,
                    self._site,  # type: ignore[arg-type] # Twisted says its Site is none
                )
            except OSError as error:
                self._limited_log.error(
                    "a connection was lost: {reason}",
                    of=error.errno,
                    reason=error.strerror,
                )
        # By now it was identified.
        owner = self._registry.processes.get(pid, None)
        if owner is not None:
            self._registry.cgroups.put(cgroup, owner)


def _is_over(connection: socket.SocketType) -> bool:
    """Return whether the other end has closed, and said nothing before."""
    try:
        return not connection.recv(1, _PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
