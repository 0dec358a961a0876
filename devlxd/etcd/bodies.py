# -*- test-case-name: tests.etcd.test_bodies -*-
"""The bodies of responses: whole, or line by line; both are bounded."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from devlxd.etcd.errors import EtcdError, TooLargeError
from devlxd.outgoing_http import describe


class _BodyTransport(typing.Protocol):
    """The transport that Twisted's HTTP client gives to the receiver of a body.

    `IResponse.deliverBody` documents an `IPushProducer`; its ``loseConnection`` is
    public, but in no interface.
    """

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def loseConnection(self) -> None: ...


class LineAssembler:
    """Divides data into lines. The pieces of a long line are joined once.

    :param max_size: the maximum length of a line, in bytes.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> Iterator[bytes]:
        """Add data; yield each line that it completes, without the line feed.

        :raises TooLargeError: if a line is too long.
        """
        *complete, rest = data.split(b"\n")
        for piece in complete:
            self._append(piece)
            yield self.rest()
        self._append(rest)

    def _append(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._max_size:
            raise TooLargeError(f"a line is longer than {self._max_size} bytes")
        self._pieces.append(piece)

    def rest(self) -> bytes:
        """Remove and return what follows the last line feed."""
        line = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return line


class _WholeBody(Protocol):
    """Collects a body.

    :ivar done: fires with it.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._pieces: list[bytes] = []
        self._size = 0
        self.done: Deferred[bytes] = Deferred(lambda _: self._abandon())

    def _abandon(self) -> None:
        self._pieces.clear()
        cast(_BodyTransport, self.transport).loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol.dataReceived`."""
        if self.done.called:
            return
        self._size += len(data)
        self._pieces.append(data)
        if self._size > self._max_size:
            self._abandon()
            self.done.errback(
                TooLargeError(f"the answer is longer than {self._max_size} bytes")
            )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IResponse.deliverBody`. Called at the end of the body."""
        if self.done.called:
            return
        if _is_complete(reason):
            self.done.callback(b"".join(self._pieces))
        else:
            text = f"the answer is incomplete: {describe(reason.value)}"
            self.done.errback(EtcdError(text))


def whole_body(response: IResponse, max_size: int) -> Deferred[bytes]:
    """Return a Deferred that fires with a body; cancelling it ends the connection.

    It fails with an `EtcdError` if the body is incomplete, or longer than ``max_size``
    bytes.
    """
    body = _WholeBody(max_size)
    response.deliverBody(body)
    return body.done


def _is_complete(reason: Failure) -> bool:
    return reason.check(ResponseDone, PotentialDataLoss) is not None


class LinesBody(Protocol):
    """Receives a body line by line, until it ends or `stop` is called.

    :param max_size: the maximum length of a line, in bytes.
    :param received: called with each line; an `EtcdError` that it raises ends the body.
    :param ended: called once when the body has ended by itself.
    :ivar size: how much was received, in bytes.
    """

    def __init__(
        self,
        max_size: int,
        received: Callable[[bytes], None],
        ended: Callable[[EtcdError], None],
    ) -> None:
        self._lines = LineAssembler(max_size)
        self._received = received
        self._ended = ended
        self._is_stopped = False
        self.size = 0

    def _body_transport(self) -> _BodyTransport:
        return cast(_BodyTransport, self.transport)

    def pause(self) -> None:
        """Receive no data for a while."""
        self._body_transport().pauseProducing()

    def resume(self) -> None:
        """Receive data again."""
        self._body_transport().resumeProducing()

    def stop(self) -> None:
        """Close the connection; nothing is called any more."""
        if not self._is_stopped:
            self._is_stopped = True
            self._body_transport().loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol.dataReceived`."""
        self.size += len(data)
        try:
            for line in self._lines.add(data):
                if self._is_stopped:
                    return
                self._received(line)
        except EtcdError as error:
            self._end(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IResponse.deliverBody`. The last line may lack its line feed."""
        if self._is_stopped:
            return
        try:
            rest = self._lines.rest()
            if rest:
                self._received(rest)
        except EtcdError as error:
            self._end(error)
            return
        self._end(EtcdError(f"the watch has ended: {describe(reason.value)}"))

    def _end(self, error: EtcdError) -> None:
        if not self._is_stopped:
            self.stop()
            self._ended(error)
