# -*- test-case-name: tests.guestapi.test_dialects -*-
"""What a dialect is: one published generation of the API, described."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import field, frozen
from twisted.web.resource import Resource

from devlxd.guestapi.downloads import Downloads
from devlxd.guestapi.event_rendering import json_line
from devlxd.guestapi.snapshot_responses import ResponseCache
from devlxd.interfaces import IEventBus, IServiceObserver, ITurns
from devlxd.model import Container, Event
from devlxd.observers import NullObserver


class PathPattern:
    """A path of the API, with at most one variable: ``/1.0/config/{key}``.

    The variable stands for one or more segments at the end of a path, and for
    exactly one segment before a fixed end.

    :param pattern: the path.
    :ivar fixed: its segments before the variable.
    :ivar has_variable: whether it has one.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        head, brace, rest = pattern.partition("{")
        _name, _, tail = rest.partition("}")
        self.has_variable = bool(brace)
        self.fixed = head.strip("/").split("/")
        variable = r"([^/]+)" if tail else r"(.*)"
        self._regex = re.compile(
            (re.escape(head) + variable + re.escape(tail)).encode("ascii"), re.DOTALL
        )

    def variable_in(self, path: bytes) -> bytes | None:
        """Return the variable as it stands in a path, still percent-encoded.

        :return: ``None`` if the path does not match.
        """
        match = self._regex.fullmatch(path)
        return match[1] if match else None


#: Makes the resource at a path; ``None`` where this service does not have it.
Route = Callable[["Services", PathPattern], Resource | None]


@frozen
class Dialect:
    """One published generation of the API.

    :ivar name: its name on the command line.
    :ivar socket: where its documents say that the host listens: a UNIX socket, or
        a directory that contains the socket ``sock``.
    :ivar containers: the directory of its containers' documents by default.
    :ivar images: the directory of its images by default; ``None`` if it has none.
    :ivar switch: the config key that switches the API off for a container.
    :ivar permissions: the prefix of the config keys that permit more:
        ``PERMISSIONS.uids`` and ``PERMISSIONS.images``.
    :ivar exported: the prefixes of the config keys that a guest may read.
    :ivar routes: what is at each path, see `PathPattern`.
    :ivar meta_data: renders the meta-data of a container.
    :ivar shows_device: returns whether a device, by its config, is shown.
    :ivar event_types: the types of events that it has; empty if it has none.
    :ivar render_event: renders an event; `Event.rendered` keeps the result.
    :ivar not_authorized: the text of a refusal (403).
    :ivar not_root: the text for users that may not ask (401).
    :ivar not_found: the text where nothing is at a path (404).
    :ivar rank: its place in lists; the dialect with the lowest is the default.
    """

    name: str
    socket: Path
    containers: Path
    images: Path | None
    switch: str
    permissions: str
    exported: tuple[str, ...]
    routes: Mapping[str, Route] = field(eq=False)
    meta_data: Callable[[Container], str] = field(eq=False)
    shows_device: Callable[[Mapping[str, str]], bool] = lambda _: True
    event_types: frozenset[str] = frozenset()
    render_event: Callable[[Event], bytes] = json_line
    not_authorized: str = "not authorized"
    not_root: str = "Access denied for non-root user"
    not_found: str = "not found"
    rank: int = 100

    @property
    def events(self) -> bool:
        """Whether it has events."""
        return bool(self.event_types)

    def shows_event(self, event: Event) -> bool:
        """Return whether a guest is told of an event, if it asks for its type."""
        return event.type != "config" or self.exports(str(event.metadata["key"]))

    def exports(self, key: str) -> bool:
        """Return whether a guest may read the config key ``key``."""
        return key.startswith(self.exported)


@frozen
class Services:
    """What the resources of one dialect are made with.

    :ivar dialect: the dialect.
    :ivar turns: give turns to long work.
    :ivar bus: the events; ``None`` if there are none.
    :ivar downloads: the images; ``None`` if there are none.
    :ivar observer: is notified of what guests ask.
    :ivar cache: the responses that follow from snapshots.
    :ivar wall: returns the time of day, in seconds since 1970.
    """

    dialect: Dialect
    turns: ITurns
    bus: IEventBus | None = None
    downloads: Downloads | None = None
    observer: IServiceObserver = field(factory=NullObserver)
    cache: ResponseCache = field(factory=ResponseCache)
    wall: Callable[[], float] = time.time
