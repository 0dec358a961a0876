# -*- test-case-name: tests.client.test_image_guests -*-
"""The download of an image, for programs on Twisted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IReactorThreads,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from devlxd.client.connections import Connections
from devlxd.client.errors import Unavailable
from devlxd.client.image_download import ImageDownload


async def fetch(
    reactor: IReactorTime,
    make_endpoint: Callable[[], IStreamClientEndpoint],
    download: ImageDownload,
) -> tuple[Path, ...]:
    """Download an image, over as many connections as necessary.

    :param make_endpoint: returns what to connect to.
    """
    try:
        while True:
            pause = await _try(reactor, make_endpoint(), download)
            if pause is None:
                break
            await deferLater(reactor, pause)
        await _flush(reactor, download)
        return download.finish()
    finally:
        download.abort()


async def _try(
    reactor: IReactorTime, endpoint: IStreamClientEndpoint, download: ImageDownload
) -> float | None:
    """Exchange one request; return the pause before the next if there must be one."""
    connections = Connections(reactor, endpoint)
    watch = _Watch(reactor, download)
    try:
        await watch.over(connections.exchange(download.request(), watch))
        download.end()
    except Unavailable as error:
        return download.interrupted(error)
    finally:
        connections.close()
    return None


class _Watch:
    """Passes a response to a download, and ends it if there is no data for too long."""

    def __init__(self, reactor: IReactorTime, download: ImageDownload) -> None:
        self._download = download
        self._silence = download.silence()
        self._exchange: Deferred[None] | None = None
        self._is_late = False
        self._call = reactor.callLater(self._silence, self._end)

    async def over(self, exchange: Coroutine[Deferred[Any], Any, None]) -> None:
        """Wait for an exchange.

        :raises Unavailable: if there is no data for too long.
        """
        self._exchange = Deferred.fromCoroutine(exchange)
        try:
            await self._exchange
        except CancelledError:
            if not self._is_late:
                raise
            raise Unavailable(f"no data for {self._silence:g} s") from None
        finally:
            if self._call.active():
                self._call.cancel()

    def begin(
        self, status: int, headers: Mapping[str, str], length: int | None
    ) -> None:
        """See `Receiver.begin`."""
        self._call.reset(self._silence)
        self._download.begin(status, headers, length)

    def receive(self, data: bytes) -> None:
        """See `Receiver.receive`."""
        self._call.reset(self._silence)
        self._download.receive(data)

    def _end(self) -> None:
        self._is_late = True
        if self._exchange is not None:
            self._exchange.cancel()


async def _flush(reactor: IReactorTime, download: ImageDownload) -> None:
    """Write the files to the disk, in another thread if the reactor has any."""
    if IReactorThreads.providedBy(reactor):
        await deferToThreadPool(reactor, reactor.getThreadPool(), download.flush)
    else:
        download.flush()
