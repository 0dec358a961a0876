# -*- test-case-name: tests.testing.test_fake_devlxd -*-
"""A guest whose connections are in memory, and need no turns of a reactor."""

from __future__ import annotations

import os
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Coroutine,
    Mapping,
)
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from devlxd.client import Event, Guest, IGuest
from devlxd.testing.simulation.failures import PlannedFailures
from devlxd.testing.simulation.network import MemoryNetwork

T = TypeVar("T")


@implementer(IGuest)
class MemoryGuest:
    """A `devlxd.client.Guest` in memory.

    A question is answered at once, unless time has to pass: `successResultOf` of trial
    finds the result.

    :param network: the network between the guest and its server.
    :param endpoint: the server.
    :param failures: what happens to the next questions; default: nothing.
    :param timeout: see `devlxd.client.Guest`.
    """

    def __init__(
        self,
        network: MemoryNetwork,
        endpoint: IStreamClientEndpoint,
        failures: PlannedFailures | None = None,
        timeout: float = 10,
    ) -> None:
        self._network = network
        self._failures = PlannedFailures() if failures is None else failures
        self._guest = Guest(network, endpoint, timeout)

    async def info(self) -> Mapping[str, Any]:
        """See `IGuest.info`."""
        return await self._ask(self._guest.info())

    async def config(self) -> Mapping[str, str]:
        """See `IGuest.config`."""
        return await self._ask(self._guest.config())

    async def get(self, key: str) -> str:
        """See `IGuest.get`."""
        return await self._ask(self._guest.get(key))

    async def devices(self) -> Mapping[str, Mapping[str, str]]:
        """See `IGuest.devices`."""
        return await self._ask(self._guest.devices())

    async def device(self, name: str) -> Mapping[str, str]:
        """See `IGuest.device`."""
        return await self._ask(self._guest.device(name))

    async def meta_data(self) -> str:
        """See `IGuest.meta_data`."""
        return await self._ask(self._guest.meta_data())

    async def set_state(self, state: str) -> None:
        """See `IGuest.set_state`."""
        await self._ask(self._guest.set_state(state))

    async def ready(self) -> None:
        """See `IGuest.ready`."""
        await self._ask(self._guest.ready())

    async def image(
        self,
        fingerprint: str,
        path: str | os.PathLike[str],
        progress: Callable[[int, int | None], None] | None = None,
        replace: bool = True,
    ) -> tuple[Path, ...]:
        """See `IGuest.image`."""
        downloading = self._guest.image(fingerprint, path, progress, replace)
        return await self._ask(downloading)

    def events(
        self,
        types: Collection[str] = (),
        since: str | None = None,
        on_position: Callable[[str], object] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """See `IGuest.events`."""
        return self._listen(self._guest.events(types, since, on_position))

    async def _listen(
        self, events: AsyncGenerator[Event, None]
    ) -> AsyncGenerator[Event, None]:
        self._failures.raise_next()
        # The generator is not closed here, which would need a coroutine: it ends when
        # nothing refers to it any more.
        while True:
            yield await self._run(_next(events))

    async def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        try:
            self._failures.raise_next()
        except BaseException:
            question.close()
            raise
        return await self._run(question)

    async def _run(self, question: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine, as far as no time has to pass."""
        running = Deferred.fromCoroutine(question)
        self._network.pump()
        return await running


async def _next(events: AsyncGenerator[T, None]) -> T:
    return await events.__anext__()
