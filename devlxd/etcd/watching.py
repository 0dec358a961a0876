# -*- test-case-name: tests.etcd.test_gateway -*-
"""A watch over HTTP: one request whose response never ends."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from zope.interface import implementer

from devlxd.etcd.bodies import LinesBody, whole_body
from devlxd.etcd.errors import EtcdError
from devlxd.etcd.interfaces import IWatch, IWatchReceiver
from devlxd.etcd.messages import WatchLine, parse_error
from devlxd.outgoing_http import describe

#: The maximum length of the body of a response that is an error, in bytes.
_MAX_ERROR = 64 * 1024


@implementer(IWatch)
class Watch:
    """See `IWatch`.

    :param send: sends the request, and returns a Deferred that fires with the head of
        the response.
    :param reactor: calls ``send`` later.
    :param receiver: receives the lines.
    :param max_size: the maximum length of a line, in bytes.
    """

    def __init__(
        self,
        send: Callable[[], Deferred[IResponse]],
        reactor: IReactorTime,
        receiver: IWatchReceiver,
        max_size: int,
    ) -> None:
        self._send = send
        self._begin_call: IDelayedCall | None = reactor.callLater(0, self._begin)
        self._receiver = receiver
        self._max_size = max_size
        self._waiting: Deferred[None] | None = None
        self._body: LinesBody | None = None
        self._is_paused = False
        self._has_ended = False

    def _begin(self) -> None:
        """Wait for the head of the response, and then receive its lines."""
        self._begin_call = None
        self._waiting = self._send().addCallback(self._begun)
        self._waiting.addErrback(self._failed)

    def _begun(self, response: IResponse) -> Deferred[None] | None:
        if response.code != 200:
            body = whole_body(response, _MAX_ERROR)
            return body.addCallback(lambda text: _raise_error(response.code, text))
        self._body = LinesBody(self._max_size, self._received, self._end)
        response.deliverBody(self._body)
        if self._is_paused:
            self._body.pause()
        return None

    def _received(self, line: bytes) -> None:
        if line.strip():
            self._receiver.received(WatchLine.parse(line))

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, EtcdError):
            error = EtcdError(describe(error))
        self._end(error)

    def _end(self, error: EtcdError) -> None:
        self._waiting = None
        if not self._has_ended:
            self._has_ended = True
            self._receiver.ended(error)

    def received_bytes(self) -> int:
        """See `IWatch.received_bytes`."""
        return 0 if self._body is None else self._body.size

    def pause(self) -> None:
        """See `IWatch.pause`."""
        if not self._is_paused and self._body is not None and not self._has_ended:
            self._body.pause()
        self._is_paused = True

    def resume(self) -> None:
        """See `IWatch.resume`."""
        if self._is_paused and self._body is not None and not self._has_ended:
            self._body.resume()
        self._is_paused = False

    def stop(self) -> None:
        """See `IWatch.stop`."""
        self._has_ended = True
        if self._begin_call is not None:
            self._begin_call.cancel()
            self._begin_call = None
        if self._waiting is not None:
            self._waiting.cancel()
        if self._body is not None:
            self._body.stop()


def _raise_error(status: int, body: bytes) -> None:
    raise parse_error(status, body)
