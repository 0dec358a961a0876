# -*- test-case-name: tests.guestapi.test_event_streams -*-
"""Endless streams of messages, sent as fast as the client reads them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from devlxd.httpserver.channel import DevLXDChannel
from devlxd.httpserver.connection_state import MAX_UNSENT, StreamState
from devlxd.httpserver.framing import SLICE
from devlxd.interfaces import IContinuableStream, ISink, IStream

#: The reason that is sent to a client that is disconnected because it does not read.
TOO_SLOW = "too slow"


@implementer(ISink, IPushProducer)
class MessageSink:
    """A sink that writes messages in slices.

    Data that the client does not read yet is not copied: the sink keeps a reference to
    the message, which all receivers share. There may be very many sinks, so that each
    needs little memory.

    :param channel: the connection.
    :param stream: writes the messages.
    """

    __slots__ = (
        "_channel",
        "_message",
        "_paused_at",
        "_stream",
        "_transport",
        "_when_written",
        "_written",
    )

    #: See `devlxd.httpserver.closing_channel.ActiveResponse.endless`.
    endless = True

    #: The time between two checks of the client, in seconds.
    interval: float

    _log = Logger()

    def __init__(self, channel: DevLXDChannel, stream: IStream) -> None:
        self._channel = channel
        self._transport = channel.transport
        self._stream: IStream | None = stream
        self._paused_at: float | None = None
        self._message = b""
        self._written = 0
        self._when_written: Callable[[], None] | None = None

    # Implemented by subclasses

    def check(self) -> None:
        """Check whether the client is still connected and reading."""
        raise NotImplementedError

    def write_slice(self, data: bytes, *, is_first: bool, is_last: bool) -> None:
        """Write one slice of a message."""
        raise NotImplementedError

    def finish(self, reason: str = "") -> None:
        """See `ISink.finish`."""
        raise NotImplementedError

    def cut_off(self, reason: str) -> None:
        """See `ISink.cut_off`."""
        raise NotImplementedError

    def close(self) -> None:
        """See `ActiveResponse.close`."""
        raise NotImplementedError

    @property
    def protocol(self) -> str:
        """The protocol of the stream, see `StreamState`."""
        raise NotImplementedError

    @property
    def frame(self) -> Callable[[bytes], bytes]:
        """See `ISink.frame`."""
        raise NotImplementedError

    @property
    def unparsed(self) -> bytes:
        """The data of the client that was received, but not processed."""
        return b""

    # The stream

    def attach(self) -> None:
        """Start the stream, and make it the response of the connection."""
        if self._stream is not None:
            try:
                self._stream.start(self)
            except Exception:
                # Nothing was sent yet: the client can receive an error.
                self._close_stream()
                raise
        self._channel.response = self

    def take_over(self, successor: IProtocol) -> None:
        """Hand the connection over to ``successor``, with this sink as the producer."""
        self._channel.hand_over(successor)
        self._transport.registerProducer(self, True)

    def begin(self) -> None:
        """Send messages from now on, and check the client regularly.

        If the last process left much for the client to read, that is read first.
        """
        self._channel.server.checks(self.interval).add(self)
        if self._channel.is_transport_full:
            self.pauseProducing()
        else:
            self.resumeProducing()

    def write(self, data: bytes) -> None:
        """See `ISink.write`."""
        if len(data) <= SLICE and self._paused_at is None:
            self.write_slice(data, is_first=True, is_last=True)
        else:
            self._message, self._written = data, 0
            self._write_slices()

    def write_framed(self, data: bytes) -> None:
        """See `ISink.write_framed`."""
        self._transport.write(data)

    def _write_slices(self) -> bool:
        """Write the rest of the message; return whether more may be written."""
        while self._message and self._paused_at is None:
            self._write_next_slice()
        return self._paused_at is None

    def _write_next_slice(self) -> None:
        start, self._written = self._written, self._written + SLICE
        # A last byte, such as a newline, gets no slice of its own.
        is_last = self._written + 1 >= len(self._message)
        if is_last:
            data, self._message = self._message[start:], b""
        else:
            data = self._message[start : self._written]
        self.write_slice(data, is_first=start == 0, is_last=is_last)

    @property
    def unwritten(self) -> int:
        """How much of the current message is not written yet, in bytes."""
        return len(self._message) - self._written if self._message else 0

    def suspend(self) -> StreamState | None:
        """Close the stream, and return what a new sink needs to continue it.

        The rest of the current message is written, even if the client does not read.

        :return: ``None`` if the stream cannot be continued, or too much of the
            message is not written.
        """
        stream = IContinuableStream(self._stream, None)
        target = stream.target() if stream is not None else None
        is_bounded = self.unwritten <= MAX_UNSENT
        if is_bounded:
            while self._message:
                self._write_next_slice()
        self.detach()
        if target is None or not is_bounded:
            return None
        return StreamState(target, self.protocol)

    def pauseProducing(self) -> None:
        """See `IPushProducer.pauseProducing`."""
        if self._paused_at is None:
            self._paused_at = self._channel.server.reactor.seconds()
        if self._stream is not None:
            self._stream.pause()

    def resumeProducing(self) -> None:
        """See `IPushProducer.resumeProducing`."""
        self._paused_at = None
        if not self._write_slices():
            return
        if self._when_written is not None:
            when_written, self._when_written = self._when_written, None
            when_written()
        elif self._stream is not None:
            self._stream.resume()

    def stopProducing(self) -> None:
        """See `IProducer.stopProducing`: the connection is lost."""
        self.detach()

    # The client

    @property
    def paused_for(self) -> float | None:
        """For how long the client has not read, in seconds; ``None`` if it reads."""
        if self._paused_at is None:
            return None
        return self._channel.server.reactor.seconds() - self._paused_at

    # The end

    def end_with(self, when_written: Callable[[], None]) -> None:
        """Close the stream; call ``when_written`` after the current message."""
        self._close_stream()
        if self._channel.transport.disconnecting:
            return
        if self._message:
            self._when_written = when_written
        else:
            when_written()

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._channel.server.checks(self.interval).remove(self)

    def detach(self) -> None:
        """Close the stream; discard the rest of the current message."""
        self._close_stream()
        self._message, self._when_written = b"", None

    def abort(self) -> None:
        """See `ISink.abort`."""
        self._channel.forceAbortClient()

    def fail(self, failure: Failure) -> None:
        """See `ISink.fail`: log the failure, and abort the connection."""
        self._log.failure(
            "a stream of messages to {owner} failed; its connection is aborted",
            failure,
            owner=self._channel.owner,
        )
        self.abort()
