# -*- test-case-name: tests.client.test_endpoints -*-
"""Where the guest library connects to."""

from __future__ import annotations

import os
from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.task import deferLater
from zope.interface import implementer

from devlxd.client.errors import Unavailable

#: The pause before a server is tried again whose queue of connections is full, in
#: seconds.
QUEUE_PAUSE = 0.02

#: The maximum length of the path of a socket, in bytes: ``sun_path`` of unix(7).
MAX_PATH = 107


class SocketEndpoint(UNIXClientEndpoint):
    """A UNIX socket, whose path may be any text.

    A server whose queue of connections is full is tried again: the caller cancels.
    """

    def __init__(self, reactor: IReactorTime, path: str, timeout: float) -> None:
        super().__init__(reactor, path, timeout)
        self._clock = reactor
        self._socket_path = os.fsencode(path)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        # Twisted fails only after its timeout, and with a traceback in the log.
        path = self._socket_path
        if len(path) > MAX_PATH or b"\0" in path:
            return fail(Unavailable("this cannot be the path of a socket"))
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        while True:
            try:
                connection: IProtocol = await super().connect(factory)
            except ConnectError as error:
                # Twisted has no error of its own for a full queue.
                if type(error) is not ConnectError or error.osError is not None:
                    raise
                await deferLater(self._clock, QUEUE_PAUSE)
            else:
                return connection


@implementer(IStreamClientEndpoint)
class FirstEndpoint:
    """Connects to the first of several endpoints that accepts a connection.

    :param candidates: the endpoints, in the order in which they are tried, with names
        for error messages.
    :ivar used: the name of the one that accepted the last connection.
    """

    def __init__(self, candidates: Sequence[tuple[str, IStreamClientEndpoint]]) -> None:
        self._candidates = candidates
        self.used: str | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`. Fails with `Unavailable`."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        refusals = []
        for name, endpoint in self._candidates:
            try:
                connection = await endpoint.connect(factory)
            except CancelledError:
                raise
            except Exception as error:
                refusals.append(f"{name}: {_reason(error)}")
                continue
            self.used = name
            return connection
        raise Unavailable(f"no server: {', '.join(refusals)}")


def _reason(error: Exception) -> str:
    number = error.osError if isinstance(error, ConnectError) else None
    return os.strerror(number) if isinstance(number, int) else str(error)
