"""The interfaces of the event bus: subscriptions to the events of containers."""

from __future__ import annotations

from collections.abc import Collection

from zope.interface import Interface

from devlxd.model import End, Event


class IEventBus(Interface):
    """The source of the events of containers, for subscribers."""

    def subscribe(
        container: str,
        subscriber: ISubscriber,
        types: Collection[str],
        since: int | None = None,
    ) -> ISubscription:
        """Subscribe to the events of a container.

        Nothing is delivered before the subscription is resumed for the first time.
        Events that happen before that are delivered then.

        If the container does not exist, the subscription ends with `End.REMOVED`; if
        the bus is not running, it ends with `End.STOPPED`.

        :param container: the container's name.
        :param types: the types of events to deliver, besides ``lost``.
        :param since: a timestamp, in nanoseconds since 1970: events after it are
            delivered first, as far as they are recorded. If some of them are not
            recorded, the first event delivered is ``lost``. Default: only events from
            now on.
        """

    def latest(container: str) -> int:
        """Return the current timestamp of a container, to subscribe with later.

        A subscriber that passes it as ``since`` receives all events after this call,
        and no earlier ones.

        :param container: the container's name.
        :return: the timestamp of the container's last event, or of its first snapshot
            if there is no event, in nanoseconds since 1970. The current time if the
            container does not exist.
        """


class ISubscription(Interface):
    """A subscription to the events of one container, paused at first."""

    def resume() -> None:
        """Deliver events to the subscriber, until `pause` is called."""

    def pause() -> None:
        """Deliver nothing until `resume` is called; harmless if already paused.

        If too many events happen while it is paused, the subscription ends with
        `End.TOO_SLOW`.
        """

    def cancel() -> None:
        """End the subscription; the subscriber is not called again."""

    def position() -> int | None:
        """Return the timestamp to subscribe with for the events not delivered yet.

        :return: in nanoseconds since 1970; ``None`` if all events were delivered. Then
            `IEventBus.latest` returns it.
        """


class ISubscriber(Interface):
    """A receiver of the events of one container.

    An exception that a method raises is logged. If `receive` raises it, the
    subscription ends with `End.FAILED`. Other subscribers are not affected.
    """

    def receive(event: Event) -> None:
        """Receive an event. Each is delivered once, in the order of the timestamps."""

    def end(reason: End) -> None:
        """Called when the subscription has ended, unless it was cancelled."""
