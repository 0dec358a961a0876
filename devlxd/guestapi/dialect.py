# -*- test-case-name: tests.guestapi.test_dialects -*-
"""Dialects: descriptions of the published versions of the API."""

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
        """Return the value of the variable in a path, still percent-encoded.

        :return: ``None`` if the path does not match.
        """
        match = self._regex.fullmatch(path)
        return match[1] if match else None


#: Creates the resource at a path; returns ``None`` if the service does not have it.
Route = Callable[["Services", PathPattern], Resource | None]


@frozen
class Dialect:
    """One published version of the API.

    :ivar name: its name on the command line.
    :ivar socket: the default endpoint: a UNIX socket, or a directory that contains
        the socket ``sock``.
    :ivar containers: the default directory of the documents of containers.
    :ivar images: the default directory of images; ``None`` if it has no images.
    :ivar switch: the config key that switches the API off for a container.
    :ivar permissions: the prefix of the config keys that permit more:
        ``PERMISSIONS.uids`` and ``PERMISSIONS.images``.
    :ivar exported: the prefixes of the config keys that a guest may read.
    :ivar similar_keys: config keys that are similar to those above, but are not
        mistakes: they cause no warnings in the log.
    :ivar routes: the route of each path, see `PathPattern`.
    :ivar meta_data: renders the meta-data of a container.
    :ivar shows_device: returns whether a device is shown; called with its config.
    :ivar event_types: the types of events that it has; empty if it has none.
    :ivar render_event: renders an event; `Event.rendered` keeps the result.
    :ivar not_authorized: the text of a refusal (403).
    :ivar not_root: the text for users without permission (401).
    :ivar not_found: the text for paths that do not exist (404).
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
    similar_keys: tuple[str, ...] = ()
    rank: int = 100

    @property
    def uids_key(self) -> str:
        """The config key with the users, besides root, that may send requests."""
        return f"{self.permissions}.uids"

    @property
    def images_key(self) -> str:
        """The config key that permits a container to download images."""
        return f"{self.permissions}.images"

    @property
    def events(self) -> bool:
        """Whether it has events."""
        return bool(self.event_types)

    def message_of(self, event: Event) -> bytes:
        """Return the message that a guest receives for an event.

        :return: empty if the event is of a config key that is not exported.
        """
        if event.type == "config" and not self.exports(str(event.metadata["key"])):
            return b""
        return self.render_event(event)

    def exports(self, key: str) -> bool:
        """Return whether a guest may read the config key ``key``."""
        return key.startswith(self.exported)


@frozen
class Services:
    """The objects that the resources of one dialect share.

    :ivar dialect: the dialect.
    :ivar turns: schedules long work.
    :ivar bus: the events; ``None`` if there are none.
    :ivar downloads: the images; ``None`` if there are none.
    :ivar observer: is notified of refusals, responses and lost events.
    :ivar cache: the responses that depend on snapshots only.
    :ivar wall: returns the time of day, in seconds since 1970.
    :ivar message_of: `Dialect.message_of`; always the same object, by which
        `Event.rendered` finds the message.
    """

    dialect: Dialect
    turns: ITurns
    bus: IEventBus | None = None
    downloads: Downloads | None = None
    observer: IServiceObserver = field(factory=NullObserver)
    cache: ResponseCache = field(factory=ResponseCache)
    wall: Callable[[], float] = time.time
    message_of: Callable[[Event], bytes] = field(init=False, eq=False)

    @message_of.default
    def _default_message_of(self) -> Callable[[Event], bytes]:
        return self.dialect.message_of
