# -*- test-case-name: tests.client.test_guest -*-
"""The guest API for programs on Twisted."""

from __future__ import annotations

import os
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Any, TypeVar, cast

from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from zope.interface import implementer

from devlxd.client.connections import Connections, in_time
from devlxd.client.endpoints import FirstEndpoint, SocketEndpoint
from devlxd.client.event_feed import EventFeed
from devlxd.client.event_iterator import listen
from devlxd.client.exchanges import Question
from devlxd.client.image_download import ImageDownload
from devlxd.client.image_fetching import fetch
from devlxd.client.interfaces import IGuest
from devlxd.client.questions import (
    SOCKETS,
    config,
    device,
    devices,
    get,
    info,
    meta_data,
    set_state,
)
from devlxd.client.values import Event

T = TypeVar("T")


@implementer(IGuest)
class Guest:
    """The guest API, as a container sees it; for programs on Twisted.

    A question opens a connection, which its requests share, and closes it at the end.
    So there is nothing to close, and between questions nothing is open.

    :param reactor: the reactor; it must provide `IReactorTime`, and `IReactorUNIX`
        unless ``path`` is an endpoint.
    :param path: the path of the socket, or an endpoint to connect to, for example a
        fake in a test; default: the first of `devlxd.client.questions.SOCKETS` that
        accepts a connection.
    :param timeout: how long a question may take, from the first connection to the last
        byte of its last response, in seconds.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        path: str | os.PathLike[str] | IStreamClientEndpoint | None = None,
        timeout: float = 10,
    ) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._candidates = _candidates(reactor, path, timeout)

    async def info(self) -> Mapping[str, Any]:
        """See `IGuest.info`."""
        endpoint = FirstEndpoint(self._candidates)
        members = await self._ask(info(), endpoint)
        return {**members, "socket": endpoint.used}

    async def config(self) -> Mapping[str, str]:
        """See `IGuest.config`."""
        return await self._ask(config())

    async def get(self, key: str) -> str:
        """See `IGuest.get`."""
        return await self._ask(get(key))

    async def devices(self) -> Mapping[str, Mapping[str, str]]:
        """See `IGuest.devices`."""
        return await self._ask(devices())

    async def device(self, name: str) -> Mapping[str, str]:
        """See `IGuest.device`."""
        return await self._ask(device(name))

    async def meta_data(self) -> str:
        """See `IGuest.meta_data`."""
        return await self._ask(meta_data())

    async def set_state(self, state: str) -> None:
        """See `IGuest.set_state`."""
        await self._ask(set_state(state))

    async def ready(self) -> None:
        """See `IGuest.ready`."""
        await self.set_state("Ready")

    async def image(
        self,
        fingerprint: str,
        path: str | os.PathLike[str],
        progress: Callable[[int, int | None], None] | None = None,
        replace: bool = True,
    ) -> tuple[Path, ...]:
        """See `IGuest.image`."""
        now = self._reactor.seconds
        download = ImageDownload(fingerprint, path, progress, now, replace)
        return await fetch(
            self._reactor, lambda: FirstEndpoint(self._candidates), download
        )

    def events(
        self,
        types: Collection[str] = (),
        since: str | None = None,
        on_position: Callable[[str], object] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """See `IGuest.events`."""
        feed = EventFeed(types, since, on_position)
        endpoint = FirstEndpoint(self._candidates)
        return listen(self._reactor, endpoint, feed, self._timeout)

    async def _ask(
        self, question: Question[T], endpoint: IStreamClientEndpoint | None = None
    ) -> T:
        endpoint = endpoint or FirstEndpoint(self._candidates)
        connections = Connections(self._reactor, endpoint)
        try:
            return await in_time(
                connections.ask(question), self._reactor, self._timeout
            )
        finally:
            connections.close()


def _candidates(
    reactor: IReactorTime,
    path: str | os.PathLike[str] | IStreamClientEndpoint | None,
    timeout: float,
) -> Sequence[tuple[str, IStreamClientEndpoint]]:
    """Return the endpoints to try, with their names."""
    if IStreamClientEndpoint.providedBy(path):
        return [(str(path), path)]
    paths = SOCKETS if path is None else [os.fspath(cast(str, path))]
    return [(name, SocketEndpoint(reactor, name, timeout)) for name in paths]
