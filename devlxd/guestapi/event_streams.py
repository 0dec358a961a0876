# -*- test-case-name: tests.guestapi.test_event_streams -*-
"""``/1.0/events``: the changes of a container, as they happen.

The bus ends the subscriptions of clients that read too slowly.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from urllib.parse import quote

from twisted.web import http
from twisted.web.http import Request
from zope.interface import implementer

from devlxd.guestapi.dialect import PathPattern, Services
from devlxd.guestapi.resource_bases import AnyResponse, GuestResource
from devlxd.guestapi.snapshot_responses import JSON
from devlxd.httpserver.responses import MessageResponse, refusal
from devlxd.interfaces import (
    IContinuableStream,
    IEventBus,
    ISink,
    ISubscriber,
    ISubscription,
)
from devlxd.model import Container, End, Event
from devlxd.timestamps import timestamp_of, timestamp_text

#: The latest time that a journal can store, in nanoseconds since 1970.
_LAST_TIMESTAMP = 2**63 - 1

#: The response header with the current timestamp, which a client can send as ``since``.
TIMESTAMP = b"X-Devlxd-Timestamp"


@implementer(IContinuableStream, ISubscriber)
class EventStream:
    """The events of one container, as messages of a response.

    What is sent for an event is rendered and framed once for all streams: here it is
    only passed on. There may be very many streams, so that each needs little memory.

    :param services: renders the events, and has the observer to notify of ``lost``.
    :param bus: the source of the events.
    :param container: the container's name.
    :param types: see `IEventBus.subscribe`.
    :param since: see `IEventBus.subscribe`.
    :param target: the target of a request for the same events, to which only the
        argument ``since`` is added.
    """

    __slots__ = (
        "_bus",
        "_container",
        "_framed",
        "_services",
        "_since",
        "_sink",
        "_subscription",
        "_target",
        "_types",
    )

    def __init__(
        self,
        services: Services,
        bus: IEventBus,
        container: str,
        types: Collection[str],
        since: int | None,
        target: str = "",
    ) -> None:
        self._services = services
        self._bus = bus
        self._container = container
        self._types = types
        self._since = since
        self._target = target
        self._subscription: ISubscription | None = None

    def start(self, sink: ISink) -> None:
        """See `IStream.start`."""
        self._sink = sink
        self._framed = self._services.framed_by(sink.frame)
        self._subscription = self._bus.subscribe(
            self._container, self, self._types, self._since
        )

    def pause(self) -> None:
        """See `IStream.pause`."""
        if self._subscription is not None:
            self._subscription.pause()

    def resume(self) -> None:
        """See `IStream.resume`."""
        if self._subscription is not None:
            self._subscription.resume()

    def close(self) -> None:
        """See `IStream.close`."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.cancel()

    def target(self) -> str | None:
        """See `IContinuableStream.target`."""
        if self._subscription is None:
            return None
        since = self._subscription.position()
        if since is None:
            since = self._bus.latest(self._container)
        return f"{self._target}since={quote(timestamp_text(since))}"

    def receive(self, event: Event) -> None:
        """See `ISubscriber.receive`."""
        if event.type == "lost":
            self._services.observer.lost(self._container)
        if data := event.rendered(self._framed):
            self._sink.write_framed(data)
        elif message := event.rendered(self._services.message_of):
            self._sink.write(message)

    def end(self, reason: End) -> None:
        """See `ISubscriber.end`."""
        if reason is End.TOO_SLOW:
            self._sink.cut_off(reason.value)
        elif reason is End.FAILED:
            self._sink.abort()
        else:
            self._sink.finish(reason.value)


class EventsResource(GuestResource):
    """``/1.0/events``.

    The argument ``type`` of the query selects types of events, separated by commas. If
    there is an argument ``since``, recorded events after that time are sent first.
    """

    def __init__(self, services: Services, path: PathPattern, bus: IEventBus) -> None:
        super().__init__(services, path)
        self._bus = bus

    def get(self, request: Request, container: Container) -> AnyResponse:
        """See `GuestResource.get`."""
        try:
            types = _types_of(request, self.dialect.event_types)
            since = _since_of(request)
        except ValueError as error:
            return refusal(http.BAD_REQUEST, str(error))
        timestamp = timestamp_text(self._bus.latest(container.name))
        return MessageResponse(
            headers=((TIMESTAMP, timestamp.encode("ascii")),),
            body_headers=JSON,
            stream=EventStream(
                self.services,
                self._bus,
                container.name,
                types,
                since,
                _target_of(request, types),
            ),
        )


def events(services: Services, path: PathPattern) -> EventsResource | None:
    """Return the resource, or ``None`` if there are no events; see `Route`."""
    if services.bus is None:
        return None
    return EventsResource(services, path, services.bus)


def _argument(request: Request, name: bytes) -> str:
    """Return the first value of an argument of the query; ``""`` if it is missing."""
    values: list[bytes] = request.args.get(name, [b""])
    return values[0].decode("utf-8", "replace")


def _types_of(request: Request, known: frozenset[str]) -> Collection[str]:
    """Return the requested types of events; default: all of them.

    :raises ValueError: if a requested type does not exist.
    """
    requested = {piece.strip() for piece in _argument(request, b"type").split(",")} - {
        ""
    }
    if not requested <= known:
        raise ValueError("no such event type")
    return frozenset(requested) or known


def _target_of(request: Request, types: Collection[str]) -> str:
    """Return the target of a request for the same events, without ``since``.

    Without types it is for all types, also those that only a later devlxd knows.
    """
    selected = frozenset(types) if _argument(request, b"type") else None
    return _target(request.path, selected)


@lru_cache(maxsize=64)
def _target(path: bytes, types: frozenset[str] | None) -> str:
    """Return a target; equal streams share it."""
    query = f"type={','.join(sorted(types))}&" if types is not None else ""
    return f"{path.decode('ascii')}?{query}"


def _since_of(request: Request) -> int | None:
    """Return the time after which events are requested, in nanoseconds since 1970.

    :return: ``None`` if no past events are requested.
    :raises ValueError: if the argument ``since`` is not a time.
    """
    since = _argument(request, b"since")
    if not since:
        return None
    try:
        # Query strings are form-encoded: a plain + means a space.
        timestamp = timestamp_of(since.replace(" ", "+"))
    except (ValueError, OverflowError):
        raise ValueError("since is not a time") from None
    return min(max(timestamp, 0), _LAST_TIMESTAMP)
