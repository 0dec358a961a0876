# -*- test-case-name: tests.host.test_connection_handover -*-
"""Taking connections over from the last process, and handing them to the next."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from devlxd.host.handover_store import close_connection
from devlxd.interfaces import IHandoverStore
from devlxd.model import HandedOver
from devlxd.socket_options import is_listening

#: How long a service may take to hand over its connections, in seconds. Requests in
#: progress have two seconds to end.
TIMEOUT = 4.0

#: How much data the records of all connections may have, in characters of base64: as
#: much as the connections of three sockets. Writing and reading it takes seconds.
MAX_DATA = 64 * 1024 * 1024

#: Stops serving connections and returns them, see `DevLXDService.hand_over`.
HandOver: TypeAlias = Callable[[], Deferred[list[HandedOver]]]

#: Continues connections, and returns the others, see `DevLXDService.adopt`.
Adopt: TypeAlias = Callable[[Sequence[HandedOver]], list[HandedOver]]


class ConnectionHandover:
    """The connections of all services of a process.

    :param store: where the connections are while no process has them.
    :param reactor: for the timeout.
    """

    _log = Logger()

    def __init__(self, store: IHandoverStore, reactor: IReactorTime) -> None:
        self._store = store
        self._reactor = reactor
        self._services: list[tuple[HandOver, Adopt]] = []

    def add(self, hand_over: HandOver, adopt: Adopt) -> None:
        """Add a service, by its two methods."""
        self._services.append((hand_over, adopt))

    def take(self) -> None:
        """Take the connections from the store, and let the services continue them.

        Those that no service continues are closed.
        """
        left = list(self._store.take())
        for _hand_over, adopt in self._services:
            if left:
                left = self._adopted(adopt, left)
        sockets = _listening(left)
        if sockets:
            self._log.warn(
                "{count} sockets of containers of the last process are closed: they "
                "are not served any more",
                count=sockets,
            )
        if len(left) > sockets:
            self._log.warn(
                "{count} connections of the last process are closed: they are not "
                "served any more",
                count=len(left) - sockets,
            )
        _close(left)

    def _adopted(self, adopt: Adopt, left: list[HandedOver]) -> list[HandedOver]:
        try:
            return adopt(left)
        except Exception:
            self._log.failure("connections of the last process cannot be continued")
            # What is half adopted must not be closed here: its number may be reused.
            return []

    def save(self) -> Deferred[None]:
        """Stop serving all connections, and leave them in the store.

        If the store fails, they are closed.

        :return: a Deferred that fires when this is done.
        """
        saved = gatherResults(
            [self._handed_over(hand_over) for hand_over, _adopt in self._services]
        )
        return saved.addCallback(self._save)

    def _handed_over(self, hand_over: HandOver) -> Deferred[list[HandedOver]]:
        handed_over: Deferred[list[HandedOver]] = maybeDeferred(hand_over)
        handed_over.addTimeout(TIMEOUT, self._reactor)
        return handed_over.addErrback(self._failed)

    def _failed(self, failure: Failure) -> list[HandedOver]:
        self._log.failure("connections cannot be handed over and are closed", failure)
        return []

    def _save(self, services: Sequence[Sequence[HandedOver]]) -> None:
        connections = self._bounded(each for service in services for each in service)
        if self._store.save(connections):
            sockets = _listening(connections)
            self._log.info(
                "{count} connections are left to the next process",
                count=len(connections) - sockets,
            )
            if sockets:
                self._log.info(
                    "{count} sockets of containers are left to the next process",
                    count=sockets,
                )
            for connection in connections:
                # shutdown(2) would end it for all who have a copy.
                os.close(connection.descriptor)
        else:
            _close(connections)

    def _bounded(self, connections: Iterable[HandedOver]) -> list[HandedOver]:
        """Close the connections with the most data if there is too much of all."""
        kept: list[HandedOver] = []
        left_out: list[HandedOver] = []
        left = MAX_DATA
        for connection in sorted(connections, key=_size):
            left -= _size(connection)
            (kept if left >= 0 else left_out).append(connection)
        if left_out:
            self._log.warn(
                "{count} connections have too much data for the next process and are "
                "closed",
                count=len(left_out),
            )
        _close(left_out)
        return kept


def _size(connection: HandedOver) -> int:
    """Return the length of all texts in the record of a connection."""
    values = connection.record.values()
    return sum(len(value) for value in values if isinstance(value, str))


def _listening(descriptors: Iterable[HandedOver]) -> int:
    """Return how many of these are listening sockets."""
    return sum(is_listening(one.descriptor) for one in descriptors)


def _close(connections: Sequence[HandedOver]) -> None:
    for connection in connections:
        close_connection(connection.descriptor)
