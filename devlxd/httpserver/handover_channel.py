# -*- test-case-name: tests.httpserver.test_handover -*-
"""Connections that one process hands over, and the next one continues.

In the first process a `HandoverChannel` keeps what was received of a request that is
not complete. It is frozen: it begins no further request. It is captured as soon as its
last request is answered.

In the next process a channel that has a `ConnectionState` parses the same data again.
An endless stream continues with a request that this module makes, see
`devlxd.httpserver.continued_stream`.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from devlxd.httpserver.channel import DevLXDChannel
from devlxd.httpserver.connection_state import (
    MAX_RECEIVED,
    MAX_UNSENT,
    ConnectionState,
    StreamState,
)
from devlxd.httpserver.continued_stream import ContinuedRequest, request_for
from devlxd.httpserver.message_sink import MessageSink


class HandoverChannel(DevLXDChannel):
    """A connection that can be handed over, or was handed over by another process.

    :ivar state: the state to continue from; ``None`` for a new connection. Set it
        before `makeConnection`.
    """

    state: ConnectionState | None = None
    _logger = Logger()
    _is_aborted = False
    _when_settled: Callable[[HandoverChannel], None] | None = None

    # The first process

    def freeze(self, when_settled: Callable[[HandoverChannel], None]) -> None:
        """Begin no further request.

        :param when_settled: called when the connection has settled, or is lost.
        """
        self._when_settled = when_settled
        if not self.is_endless and not self.transport.disconnecting:
            self._stop_reading()

    @property
    def is_settled(self) -> bool:
        """Whether the connection can be captured: no response is being sent."""
        is_closing = self.transport.disconnecting or self.abort_call is not None
        is_free = self.is_endless or not self.is_busy
        return is_free and not is_closing and not self._is_aborted

    def forceAbortClient(self) -> None:
        """See `HTTPChannel.forceAbortClient`."""
        self._is_aborted = True
        super().forceAbortClient()

    def request_done(self) -> None:
        """See `DevLXDChannel.request_done`."""
        if self._when_settled is not None:
            self._stop_reading()
            if self.is_settled:
                self._when_settled(self)

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`."""
        super().resumeProducing()
        if self._when_settled is not None and not self.is_endless:
            self._stop_reading()

    def _take_turn(self) -> None:
        if self._when_settled is None:
            super()._take_turn()
        else:
            self._turn = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        when_settled, self._when_settled = self._when_settled, None
        super().connectionLost(reason)
        self.incomplete = None
        if when_settled is not None:
            when_settled(self)

    @property
    def size(self) -> int:
        """How much data a record of the connection has, in bytes."""
        response, state = self.response, self.state
        unwritten = response.unwritten if isinstance(response, MessageSink) else 0
        # A connection that waits for the store still has the data of the last process.
        kept = len(state.received) + len(state.unsent) if state is not None else 0
        received = len(self.incomplete or self.unparsed)
        return received + len(self.unsent) + unwritten + kept

    def capture(self) -> tuple[int, ConnectionState] | None:
        """Lose the connection, and return what is needed to continue it.

        :return: a new file descriptor and the state; ``None`` if the connection cannot
            be handed over. Then it is closed.
        """
        self._when_settled = None
        try:
            state = self._capture_state()
            if state is not None:
                return self.detach(), state
        except Exception as error:
            # There may be too many file descriptors.
            if not isinstance(error, OSError):
                self._logger.failure("a connection cannot be handed over and is closed")
        self.forceAbortClient()
        return None

    def _capture_state(self) -> ConnectionState | None:
        if self.state is not None:
            # It waits for the store to be loaded.
            return evolve(self.state, received=self.state.received + self.unparsed)
        stream: StreamState | None = None
        received = bytes(self.incomplete or self.unparsed)
        if isinstance(self.response, MessageSink):
            received = self.response.unparsed
            stream = self.response.suspend()
            if stream is None:
                return None
        unsent = self.unsent
        if len(received) > MAX_RECEIVED or len(unsent) > 2 * MAX_UNSENT:
            return None
        admission = self.server.admission
        return ConnectionState(
            admission.record_of(self.caller) if self.caller is not None else None,
            received,
            unsent,
            self.between_requests,
            self.is_continued,
            stream,
        )

    # The next process

    def begin(self) -> None:
        """See `DevLXDChannel.begin`."""
        if self.state is None:
            super().begin()
            return
        self._stop_reading()
        self.setTimeout(None)
        admission, caller = self.server.admission, self.state.caller
        if caller is not None:
            self.owner = admission.recorded_owner(caller)
        self.server.keep(self, self.owner)
        self._ready = admission.when_loaded()
        if self._ready is None:
            self._continue_in_turn()
        else:
            self._ready.addBoth(self._loaded)

    def _loaded(self, result: object) -> None:
        self._ready = None
        if not (isinstance(result, Failure) and result.check(CancelledError)):
            self._continue_in_turn()

    def _continue_in_turn(self) -> None:
        self._turn = self.server.registry.take_turn(self.owner, self._continue)

    def _continue(self) -> None:
        self._turn = None
        if self._when_settled is not None:
            return
        state, self.state = self.state, None
        assert state is not None
        try:
            self._continue_from(state)
        except Exception:
            self._logger.failure("a connection cannot be continued and is closed")
            self.forceAbortClient()

    def _continue_from(self, state: ConnectionState) -> None:
        if not self._recognize(state):
            return
        if state.unsent:
            self.transport.write(state.unsent)
        if state.stream is not None:
            self._continue_stream(state.stream, state.received)
            return
        self.is_continued = state.is_continued
        self.between_requests = state.is_idle
        limits = self.server.limits.value
        self.setTimeout(
            limits.idle_timeout if state.is_idle else limits.request_timeout
        )
        self._receive(state.received)
        self._take_turn()

    def _recognize(self, state: ConnectionState) -> bool:
        """Identify the caller; return whether the connection continues."""
        admission = self.server.admission
        if state.caller is None:
            self.server.remove(self, self.owner)
            return self._admit(is_retry=True)
        caller = admission.recognize(self.transport, state.caller)
        if caller is None:
            if state.stream is None or state.unsent:
                self.close()
                return False
            # The handler refuses the stream, which ends it properly.
            return True
        self.server.remove(self, self.owner)
        self.caller, self.owner = caller, admission.owner(caller)
        self.server.keep(self, self.owner)
        return True

    def _continue_stream(self, stream: StreamState, received: bytes) -> None:
        self.paused = False
        self.requestFactory = ContinuedRequest
        self._receive(request_for(stream))
        self.resume_reading()
        if received:
            self.dataReceived(received)
