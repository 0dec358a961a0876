# -*- test-case-name: tests.images.test_response_reader -*-
"""Reading the body of an HTTP response, with flow control."""

from __future__ import annotations

import typing
from collections import deque
from typing import cast

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IResponse

from devlxd.interfaces import ImageError
from devlxd.outgoing_http import describe

#: The number of buffered bytes at which the server is paused. With the last chunk, of
#: at most 64 KiB, the buffer may exceed it.
MAX_BUFFERED = 128 * 1024


class _BodyTransport(typing.Protocol):
    """The transport that Twisted's HTTP client gives to the receiver of a body.

    `IResponse.deliverBody` documents an `IPushProducer`; its ``loseConnection``
    is public, but in no interface.
    """

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def loseConnection(self) -> None: ...


class ResponseReader(Protocol):
    """A buffer for the body of a response; the server is paused when it is full.

    :param reactor: for the timeout.
    :param timeout: how long the server may send nothing, in seconds.
    """

    def __init__(self, reactor: IReactorTime, timeout: float) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._buffer: deque[bytes] = deque()
        self._buffered = 0
        self._end: Failure | None = None
        self._data_or_end: Deferred[None] | None = None

    @classmethod
    def of(
        cls, response: IResponse, reactor: IReactorTime, timeout: float
    ) -> ResponseReader:
        """Return a reader of the body of a response. The caller has to close it."""
        reader = cls(reactor, timeout)
        response.deliverBody(reader)
        return reader

    async def read(self) -> bytes:
        """Return the next chunk of the body, or ``b""`` at its end.

        :raises ImageError: if the response ends before it is complete, or the
            server sends nothing for too long.
        """
        if not self._buffer and self._end is None:
            await self._wait()
        if self._buffer:
            return self._take()
        error = self._end.value if self._end else None
        if error is not None and not isinstance(error, ResponseDone):
            raise ImageError(f"the response is incomplete: {describe(error)}")
        return b""

    async def _wait(self) -> None:
        """Wait for data, or for the end of the body."""
        self._data_or_end = Deferred()
        try:
            await self._data_or_end.addTimeout(self._timeout, self._reactor)
        except TimeoutError:
            raise ImageError(f"no data for {self._timeout:g} s") from None

    def _take(self) -> bytes:
        """Remove the first chunk from the buffer; after the last, resume the server."""
        chunk = self._buffer.popleft()
        self._buffered -= len(chunk)
        if not self._buffer and self._end is None:
            self._body_transport().resumeProducing()
        return chunk

    def close(self) -> None:
        """Discard the rest of the body, and close the connection."""
        self._buffer.clear()
        if self._end is None:
            self._body_transport().loseConnection()

    def _body_transport(self) -> _BodyTransport:
        return cast(_BodyTransport, self.transport)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol.dataReceived`. Pauses the server if the buffer is full."""
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= MAX_BUFFERED:
            self._body_transport().pauseProducing()
        self._wake_reader()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IResponse.deliverBody`. Called at the end of the body."""
        self._end = reason
        self._wake_reader()

    def _wake_reader(self) -> None:
        waiting, self._data_or_end = self._data_or_end, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)
