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
from devlxd.guestapi.meta_data import MetaData
from devlxd.guestapi.snapshot_responses import ResponseCache
from devlxd.interfaces import IEventBus, IGuestStates, ITurns
from devlxd.model import Container, Event
from devlxd.observers import GuardedObserver
from devlxd.turns import Slices


class PathPattern:
    """A path of the API, with at most one variable: ``/1.0/config/{key}``.

    A variable at the end of the pattern matches the rest of a path, slashes included. A
    variable before a fixed end matches exactly one segment.

    :param pattern: the path.
    :ivar fixed: the segments of the path before the variable.
    :ivar has_variable: whether the path has a variable.
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

        :param path: the path of a request, percent-encoded.
        :return: ``None`` if ``path`` does not match the pattern.
        """
        match = self._regex.fullmatch(path)
        return match[1] if match else None


#: Creates the resource at a path, or returns ``None`` if the service has none there.
Route = Callable[["Services", PathPattern], Resource | None]


@frozen
class Dialect:
    """One published version of the API.

    :ivar name: the name of the dialect on the command line.
    :ivar socket: the default endpoint: a UNIX socket, or a directory that contains
        the socket ``sock``.
    :ivar containers: the default directory of the documents of containers.
    :ivar images: the default directory of images; ``None`` if the dialect has
        no images.
    :ivar switch: the config key that switches the API off for a container.
    :ivar permissions: the prefix of the config keys that give further permissions,
        see `Dialect.uids_key` and `Dialect.images_key`.
    :ivar exported: the prefixes of the config keys that a guest may read.
    :ivar similar_keys: config keys that look like misspellings of the keys above, but
        are not: they cause no warnings in the log.
    :ivar routes: the route of each path, see `PathPattern`.
    :ivar meta_data: renders the meta-data of a container, in slices.
    :ivar adds_ssh_keys: whether the SSH keys in the config of a container are added to
        its user-data and vendor-data, and not listed; see `devlxd.guestapi.ssh_keys`.
    :ivar shows_device: returns whether guests see a device; called with the device's
        keys and values.
    :ivar event_types: the types of events; empty if the dialect has no events.
    :ivar render_event: renders an event; called once for each event.
    :ivar guest_states: whether guests can set their state, which is then kept in
        ``--state``.
    :ivar not_authorized: the error message of a 403: the container has no permission.
    :ivar not_root: the error message of a 401: the user has no permission.
    :ivar not_found: the error message of a 404: the path does not exist.
    :ivar rank: the position of the dialect in lists of dialects; the one with the
        lowest rank is the default.
    """

    name: str
    socket: Path
    containers: Path
    images: Path | None
    switch: str
    permissions: str
    exported: tuple[str, ...]
    routes: Mapping[str, Route] = field(eq=False)
    meta_data: Callable[[Container], Slices[MetaData]] = field(eq=False)
    adds_ssh_keys: bool = False
    shows_device: Callable[[Mapping[str, str]], bool] = lambda _: True
    event_types: frozenset[str] = frozenset()
    render_event: Callable[[Event], bytes] = json_line
    guest_states: bool = False
    not_authorized: str = "not authorized"
    not_root: str = "Access denied for non-root user"
    not_found: str = "not found"
    similar_keys: tuple[str, ...] = ()
    rank: int = 100

    @property
    def uids_key(self) -> str:
        """The config key with the users, besides root, that may use the API."""
        return f"{self.permissions}.uids"

    @property
    def images_key(self) -> str:
        """The config key that permits a container to download images."""
        return f"{self.permissions}.images"

    @property
    def events(self) -> bool:
        """Whether the dialect has events."""
        return bool(self.event_types)

    def message_of(self, event: Event) -> bytes:
        """Return the message that a guest receives for an event.

        :return: empty if the event is about a config key that guests may not read.
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
    :ivar states: the guest states.
    :ivar bus: the source of events; ``None`` if there are no events.
    :ivar downloads: the source of images; ``None`` if there are no images.
    :ivar observer: is notified of refusals, responses and lost events.
    :ivar cache: keeps the responses that depend only on a snapshot.
    :ivar wall: returns the time of day, in seconds since 1970.
    :ivar location: where the containers run; empty for the name of the host.
    :ivar message_of: the method `Dialect.message_of` of the dialect, always as the same
        object: `Event.rendered` compares it to find a message that is rendered already.
    """

    dialect: Dialect
    turns: ITurns
    states: IGuestStates
    bus: IEventBus | None = None
    downloads: Downloads | None = None
    observer: GuardedObserver = field(factory=GuardedObserver)
    cache: ResponseCache = field(factory=ResponseCache)
    wall: Callable[[], float] = time.time
    location: str = ""
    message_of: Callable[[Event], bytes] = field(init=False, eq=False)

    _framed: dict[Callable[[bytes], bytes], Callable[[Event], bytes]] = field(
        factory=dict, init=False, eq=False
    )

    @message_of.default
    def _default_message_of(self) -> Callable[[Event], bytes]:
        return self.dialect.message_of

    def framed_by(self, frame: Callable[[bytes], bytes]) -> Callable[[Event], bytes]:
        """Return the function that renders the message of an event, and frames it.

        It is always the same object for one ``frame``, as `message_of` is.

        :param frame: see `devlxd.interfaces.ISink`; there are few such functions.
        """
        framed = self._framed.get(frame)
        if framed is None:
            message_of = self.message_of
            framed = self._framed[frame] = lambda event: frame(message_of(event))
        return framed
