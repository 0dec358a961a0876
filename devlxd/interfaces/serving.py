"""The seams between the HTTP server and its users: callers, requests, streams."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure
from twisted.web.http import Request
from zope.interface import Attribute, Interface


class IAdmission(Interface):
    """The identification of the callers of connections, and of their owners.

    A caller is the object that `identify` returns; the HTTP server only passes it
    on. Limits and turns are counted by owner: usually a container's name.
    """

    def identify(transport: ITransport) -> object | None:
        """Return the caller at the other end of ``transport``.

        :return: ``None`` if it cannot be identified; the reason is logged.
        """

    def owner(caller: object | None) -> Hashable:
        """Return the owner of the connections of ``caller``."""

    def refused(owner: Hashable) -> None:
        """Called when a connection is refused because its owner has too many."""

    def when_ready() -> Deferred[None] | None:
        """Return a Deferred that fires when identification is worth a retry.

        :return: ``None`` if an unidentified caller stays unidentified. The
            Deferred may be cancelled.
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

    def responded(request: Request, caller: object | None, code: int) -> None:
        """Called once for each request, when the head of its response is sent.

        It is not called if the connection is lost before that. It is also called
        for requests that the server refuses without calling `respond`.

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

    caller: object = Attribute("What `IAdmission.identify` returned, or ``None``.")

    server: object = Attribute("The `IConnections` that it belongs to.")

    def close() -> None:
        """Close it; abort it if the client does not read within two seconds."""

    def interrupt() -> None:
        """Close it if a response is being sent, or a stream is pending."""

    def retire() -> None:
        """Close it; an endless stream has 30 seconds to end by itself."""


class IStream(Interface):
    """The source of a body that is written over time: an image, or events."""

    def start(sink: ISink) -> None:
        """Called once, before anything else.

        A stream of messages writes nothing before the first `resume`; any other
        one begins to write.
        """

    def pause() -> None:
        """Write nothing until `resume`; the client does not read."""

    def resume() -> None:
        """Continue to write."""

    def close() -> None:
        """Release all resources; nothing is written from now on.

        Always called at the end, even if `start` was never called, and possibly
        more than once.
        """


class ISink(Interface):
    """The destination of a stream: the rest of one response."""

    def write(data: bytes) -> None:
        """Write some data; of a stream of messages, exactly one message."""

    def finish(reason: str = "") -> None:
        """End the response normally.

        :param reason: sent to the client if the protocol supports it.
        """

    def cut_off(reason: str) -> None:
        """End the response of a client that reads too slowly."""

    def abort() -> None:
        """Close the connection immediately."""

    def fail(failure: Failure) -> None:
        """End the response because of an error; see `IRequestHandler.respond`."""
