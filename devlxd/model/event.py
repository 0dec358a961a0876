# -*- test-case-name: tests.events.test_event -*-
"""A change of a container, and the end of a subscription."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import field, frozen


def _size_of(values: Mapping[str, object]) -> int:
    """Return the size of ``values``; see `Event.size`."""
    # Braces, and for each item a comma, a colon and the quotes of its name.
    size = 2 + 4 * len(values) - (len(values) > 0)
    for name, value in values.items():
        size += len(name) if name.isascii() else len(name.encode("utf-8"))
        if isinstance(value, str):
            size += 2 + (len(value) if value.isascii() else len(value.encode("utf-8")))
        else:
            size += _size_of(value) if isinstance(value, Mapping) else len(str(value))
    return size


def _read_only(values: Mapping[str, object]) -> Mapping[str, object]:
    return values if isinstance(values, MappingProxyType) else MappingProxyType(values)


@frozen
class Event:
    """One change of one container.

    Subscribers share events: neither the metadata nor its values may be changed.

    :ivar container: the name of the container.
    :ivar type: ``config`` or ``device``; ``lost`` where events before this one
        are missing.
    :ivar timestamp: the time of the change, in nanoseconds since 1970. The timestamps
        of a container increase from event to event.
    :ivar metadata: what has changed, a read-only mapping of names to text or to
        mappings. Of ``config``: ``key``, ``old_value`` and ``value``. Of
        ``device``: ``name``, ``action`` (``added``, ``updated`` or ``removed``)
        and ``config``, the device's keys to their values. Empty for ``lost``.
    :ivar size: the length of the metadata as compact JSON, in bytes, as if no character
        needed an escape. The limits of queues and batches apply to the sum of sizes.
    :raises UnicodeEncodeError: if UTF-8 cannot encode a value.
    """

    container: str
    type: str
    timestamp: int
    metadata: Mapping[str, object] = field(converter=_read_only, hash=False)
    size: int = field(init=False, eq=False, repr=False)
    _renderings: tuple[Any, ...] = field(default=(), init=False, eq=False, repr=False)

    @size.default
    def _metadata_size(self) -> int:
        return _size_of(self.metadata)

    def rendered(self, render: Callable[[Event], bytes]) -> bytes:
        """Return this event, rendered by ``render``.

        The result is kept with the event, so that each function is called only once,
        however many subscribers there are.
        """
        known = self._renderings
        # The first function is nearly always the only one.
        if known and known[0] is render:
            rendering: bytes = known[1]
            return rendering
        if render in known:
            rendering = known[known.index(render) + 1]
            return rendering
        rendering = render(self)
        # A flat tuple needs the least memory; there may be very many events.
        object.__setattr__(self, "_renderings", (*known, render, rendering))
        return rendering


class End(enum.Enum):
    """Why a subscription has ended."""

    #: The subscription was paused while too many events occurred.
    TOO_SLOW = "too slow"
    #: The subscriber has raised an exception.
    FAILED = "failed"
    #: The container was removed.
    REMOVED = "the container is gone"
    #: devlxd stops. A subscriber that reconnects with ``since`` misses nothing.
    STOPPED = "devlxd stops"
