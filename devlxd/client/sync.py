# -*- test-case-name: tests.client.test_sync -*-
"""The synchronous face of the guest library, for programs without Twisted.

It needs the standard library alone, and imports little of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from devlxd.client import questions
from devlxd.client.exchanges import Question
from devlxd.client.sync_connection import Connection

if TYPE_CHECKING:
    from pathlib import Path

    from devlxd.client.sync_events import Events

#: The longest timeout, in seconds: a day. Far longer ones overflow in the kernel.
MAX_TIMEOUT = 86_400

T = TypeVar("T")


class Guest:
    """The guest API, as a container sees it, in plain methods.

    See `devlxd.client.IGuest` for what they return and raise: the names are the same.

    Each question has a connection of its own, which is closed when it is answered:
    threads may share a guest, and there is nothing to close.

    :param path: the socket; default: the first of `questions.SOCKETS` at which a server
        listens.
    :param timeout: how long a question may take as a whole, in seconds.
    :raises ValueError: if the timeout is not positive, or more than `MAX_TIMEOUT`.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, timeout: float = 10
    ) -> None:
        if not 0 < timeout <= MAX_TIMEOUT:
            raise ValueError(f"timeout is not in 0 to {MAX_TIMEOUT} seconds: {timeout}")
        self._paths = questions.SOCKETS if path is None else (os.fsdecode(path),)
        self._timeout = timeout

    def info(self) -> Mapping[str, Any]:
        """See `IGuest.info`."""
        with closing(self._connection()) as connection:
            members = _answer(questions.info(), connection)
            return {**members, "socket": connection.path}

    def config(self) -> Mapping[str, str]:
        """See `IGuest.config`."""
        return self._ask(questions.config())

    def get(self, key: str) -> str:
        """See `IGuest.get`."""
        return self._ask(questions.get(key))

    def devices(self) -> Mapping[str, Mapping[str, str]]:
        """See `IGuest.devices`."""
        return self._ask(questions.devices())

    def device(self, name: str) -> Mapping[str, str]:
        """See `IGuest.device`."""
        return self._ask(questions.device(name))

    def meta_data(self) -> str:
        """See `IGuest.meta_data`."""
        return self._ask(questions.meta_data())

    def set_state(self, state: str) -> None:
        """See `IGuest.set_state`."""
        self._ask(questions.set_state(state))

    def ready(self) -> None:
        """See `IGuest.ready`."""
        self.set_state("Ready")

    def events(
        self,
        types: Collection[str] = (),
        since: str | None = None,
        on_position: Callable[[str], object] | None = None,
    ) -> Events:
        """See `IGuest.events`. The iterator has a method ``close``."""
        # What events need takes a while to import, and questions do not need it.
        from devlxd.client.event_feed import EventFeed  # noqa: PLC0415
        from devlxd.client.sync_events import Events  # noqa: PLC0415

        feed = EventFeed(types, since, on_position)
        return Events(self._paths, self._timeout, feed)

    def image(
        self,
        fingerprint: str,
        path: str | os.PathLike[str],
        progress: Callable[[int, int | None], None] | None = None,
        replace: bool = True,
    ) -> tuple[Path, ...]:
        """See `IGuest.image`."""
        # What images need is a sixth of what it takes to import the rest.
        from devlxd.client.sync_image import fetch  # noqa: PLC0415

        return fetch(self._paths, fingerprint, path, progress, replace)

    def _connection(self) -> Connection:
        return Connection(self._paths, self._timeout)

    def _ask(self, question: Question[T]) -> T:
        with closing(self._connection()) as connection:
            return _answer(question, connection)


def _answer(question: Question[T], connection: Connection) -> T:
    """Ask what a question asks, and return its result."""
    try:
        request = next(question)
        while True:
            request = question.send(connection.ask(request))
    except StopIteration as end:
        result: T = end.value
        return result
