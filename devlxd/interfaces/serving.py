"""The interfaces of the HTTP server: admission, requests, connections, streams."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure
from twisted.web.http import Request
from zope.interface import Attribute, Interface

from devlxd.model import FileRange, JSONValue


class IAdmission(Interface):
    """The identification of the callers of connections, and of their owners.

    A caller is the object that `identify` returns; the HTTP server only passes it
    on. Each caller has an owner, usually the name of a container. Connections and
    turns are counted for each owner.
    """

    def identify(transport: ITransport, is_retry: bool = False) -> object | None:
        """Return the caller at the other end of ``transport``.

        :param is_retry: whether this is the second attempt, see `when_ready`. There
            is no third one.
        :return: ``None`` if the caller cannot be identified. The provider logs the
            reason, unless there will be another attempt that may succeed.
        """

    def owner(caller: object | None) -> Hashable:
        """Return the owner of the connections of ``caller``.

        :param caller: ``None`` for a caller that is not identified.
        """

    def refused(owner: Hashable) -> None:
        """Called when connections are refused because their owner has too many.

        Several connections that one process opens at about the same time count as one.
        """

    def record_of(caller: object) -> Mapping[str, JSONValue]:
        """Return what the next process needs to recognize a caller."""

    def recognize(
        transport: ITransport, record: Mapping[str, JSONValue]
    ) -> object | None:
        """Return the caller of a connection that the last process has handed over.

        It is identified as by `identify`, when `when_loaded` permits it.

        :param record: what `record_of` returned in that process.
        :return: ``None`` if it is no longer the caller of ``record``, or ``record``
            is malformed. Nothing is logged.
        """

    def recorded_owner(record: Mapping[str, JSONValue]) -> Hashable:
        """Return the owner of a caller by its record, before it is recognized."""

    def when_loaded() -> Deferred[None] | None:
        """Return a Deferred that fires when `recognize` may be called.

        :return: ``None`` if it may be called now. The Deferred may be cancelled; any
            other failure means the same as a success.
        """

    def when_ready() -> Deferred[None] | None:
        """Return a Deferred that fires when `identify` should be called again.

        :return: ``None`` if a later attempt would fail as well. The Deferred may be
            cancelled.
        """


class IRequestHandler(Interface):
    """A handler that responds to requests."""

    def start(connections: IConnections) -> None:
        """Called when the first port listens.

        :param connections: the connections on which requests arrive.
        """

    def stop() -> None:
        """Called when the last port has stopped listening."""

    def respond(request: Request, caller: object | None) -> object:
        """Respond to a request.

        :param request: a `devlxd.httpserver.request.DevLXDRequest`.
        :param caller: what `IAdmission.identify` returned for the connection.
        :return: a `devlxd.httpserver.responses.Response`, ``StreamResponse`` or
            ``MessageResponse``; a Deferred that fires with one, and is cancelled if
            the client disconnects; or a ``PendingStream``. A failure with a
            ``ResponseError`` sends that error's response; any other failure is
            logged, and the client receives a 500.
        """

    def kept(path: bytes, caller: object | None) -> object | None:
        """Return the response to GET that is kept for a path.

        It is the response that `respond` would return, rendered. Whatever refuses a
        request in `respond` applies here as well.

        :param path: the path of a request without a query, a body, or any header on
            which a response depends; there is no ``%`` in it.
        :param caller: as for `respond`.
        :return: a `devlxd.httpserver.quick_requests.RenderedResponse`; ``None`` to have
            `respond` called.
        """

    def kept_sent(path: bytes, caller: object | None, began: float) -> None:
        """Called when a response is sent that `kept` returned, instead of `responded`.

        :param began: when the request was received, in seconds of
            `time.perf_counter`.
        """

    def responded(request: Request, caller: object | None, code: int) -> None:
        """Called once for each request, when the head of its response is sent.

        It is not called if the connection is lost before that. It is also called
        for complete requests that the server refuses without calling `respond`, but
        not for a request that is refused while it is being received.

        :param caller: as for `respond`.
        :param code: the status code: 101 if a websocket is accepted.
        """


class IConnections(Interface):
    """The open connections of one site."""

    def of(owner: Hashable) -> Iterable[IConnection]:
        """Return the connections of an owner."""

    def all() -> Iterable[IConnection]:
        """Return all connections."""


class IConnection(Interface):
    """One connection of a client."""

    caller: object = Attribute("What `IAdmission.identify` returned for it.")

    server: object = Attribute("The `IConnections` that contain this one.")

    is_endless: bool = Attribute("Whether it carries an endless stream, of events.")

    def close() -> None:
        """Close the connection; abort it if that takes longer than two seconds."""

    def interrupt() -> None:
        """Close the connection if a response is being sent, or a stream is pending."""

    def retire() -> None:
        """Close the connection; an endless stream has 30 seconds to end by itself."""


class IStream(Interface):
    """The source of a body that is written over time: an image, or events."""

    def start(sink: ISink) -> None:
        """Start the stream; called at most once, before `pause` and `resume`.

        A stream of messages writes nothing before the first `resume`. Any other
        stream begins to write immediately.
        """

    def pause() -> None:
        """Write nothing until `resume` is called: the client does not read."""

    def resume() -> None:
        """Continue to write."""

    def close() -> None:
        """Release all resources; nothing is written from now on.

        It is always called at the end, even if `start` was never called, and possibly
        more than once.
        """


class IContinuableStream(IStream):
    """A stream of messages that another process can continue."""

    def target() -> str | None:
        """Return the target of a request for all messages that were not written yet.

        :return: its path and query; ``None`` if the stream has ended.
        """


class ISink(Interface):
    """The destination of a stream: the rest of one response."""

    def write(data: bytes) -> None:
        """Write some data: exactly one message if this is a stream of messages."""

    frame: Callable[[bytes], bytes] = Attribute(
        """Returns what `write_framed` writes for a message, to be shared by all sinks
        that have the same function. Empty if the message is for `write` only."""
    )

    def write_framed(data: bytes) -> None:
        """Write what `frame` returned for one message, if it is not empty."""

    def finish(reason: str = "") -> None:
        """End the response normally.

        :param reason: sent to the client if the protocol supports it.
        """

    def cut_off(reason: str) -> None:
        """End the response because the client reads too slowly.

        :param reason: as for `finish`.
        """

    def abort() -> None:
        """Close the connection immediately."""

    def fail(failure: Failure) -> None:
        """End the response because of an error.

        As long as nothing was sent, the client may receive another response instead, as
        after a failure in `IRequestHandler.respond`. Otherwise the connection is
        aborted.
        """


class IFileSink(ISink):
    """A sink that can also send data from files, without reading it.

    The kernel does not copy the data: a client that reads late receives the file as it
    is by then. What was sent before the last `most_unread` bytes has been read.
    """

    most_unread: int = Attribute(
        "How many bytes that were sent or written a client may not have read, at most."
    )

    def send(data: FileRange, seconds: float) -> Deferred[int]:
        """Send a part of a file, as fast as the client reads.

        Until the Deferred has fired, the stream may call no other method of the sink
        than `abort`, and has to keep the file open.

        :param data: a part whose data is in the page cache.
        :param seconds: the time after which no more of it is sent, because it may be in
            the page cache no longer.
        :return: a Deferred that fires with the number of bytes that were sent: all of
            them, or those sent in time. It may be 0 also if data cannot be sent from
            this file, if the file has ended, or if the connection is lost.
        """
