# -*- test-case-name: tests.images.test_response_reader -*-
"""The body of a response, read as it is wanted and not as it comes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.iweb import IResponse

from devlxd.interfaces import ImageError

if TYPE_CHECKING:
    from twisted.web._newclient import TransportProxyProducer

#: How much of a body may wait to be read, in bytes. What came with it in one
#: piece, at most 64 KiB, is taken too.
MAX_WAITING = 128 * 1024

#: For how long the other end may send nothing, in seconds.
TIMEOUT = 30


class ResponseBody(Protocol):
    """Takes the body of a response, and lets the other end wait.

    :param reactor: for the timeout.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._ended: Failure | None = None
        self._wanted: Deferred[None] | None = None

    @classmethod
    def of(cls, response: IResponse, reactor: IReactorTime) -> ResponseBody:
        """Take the body of ``response``, which has to be closed."""
        body = cls(reactor)
        response.deliverBody(body)
        return body

    async def read(self) -> bytes:
        """Return what comes next, and nothing at the end.

        :raises ImageError: when it ends before it is complete, or nothing
            comes for too long.
        """
        if not self._waiting and self._ended is None:
            await self._wait()
        if self._waiting:
            return self._next()
        error = self._ended.value if self._ended else None
        if error is not None and not isinstance(error, ResponseDone):
            raise ImageError(f"the answer breaks off: {reason_of(error)}")
        return b""

    async def _wait(self) -> None:
        self._wanted = Deferred()
        try:
            await self._wanted.addTimeout(TIMEOUT, self._reactor)
        except TimeoutError:
            raise ImageError(f"nothing comes for {TIMEOUT} s") from None

    def _next(self) -> bytes:
        piece = self._waiting.popleft()
        self._size -= len(piece)
        if not self._waiting and self._ended is None:
            self._transport().resumeProducing()
        return piece

    def close(self) -> None:
        """Read no more of it."""
        self._waiting.clear()
        if self._ended is None:
            self._transport().loseConnection()

    def _transport(self) -> TransportProxyProducer:
        # What Twisted's client gives to whom it delivers a body to.
        return cast("TransportProxyProducer", self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Hear that something came."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= MAX_WAITING:
            self._transport().pauseProducing()
        self._tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hear that nothing more will come."""
        self._ended = reason
        self._tell()

    def _tell(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and not wanted.called:
            wanted.callback(None)


def reason_of(error: BaseException) -> str:
    """Say in short what went wrong with a request."""
    if isinstance(error, ResponseFailed) and error.reasons:
        return reason_of(error.reasons[0].value)
    return str(error) or type(error).__name__
