"""What guests that listen do, and whether they hear each change once and in order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from random import Random
from urllib.parse import quote

from benchmarks.soaking.client import PATIENCE, Client, request
from benchmarks.soaking.documents import VERSION, Snapshot
from benchmarks.soaking.operating import Operator
from benchmarks.soaking.report import Report, WrongError

#: How a listener reads, and how often in proportion.
WAYS = {"at once": 6, "slowly": 2, "after a while": 2}

#: How many bytes a slow listener reads at a time, and how often, in seconds.
SLOW_BYTES, SLOW_PAUSE = 2_000, 0.1


class View:
    """The state of a container according to its events.

    An event must follow from the state before it: then none is lost, none is heard
    twice, and all are in order. At each change of the version the config must be that
    of the version, and the devices those of the version before.
    """

    def __init__(self, operator: Operator) -> None:
        self._history = operator.history
        self._base = operator.history.latest
        self._config = self._base.visible
        self._devices = dict(self._base.devices)
        self.incarnation = operator.history.incarnation
        self.last = ""

    def feed(self, line: bytes) -> None:
        """Check an event.

        :raises WrongError: if it does not follow from the state.
        """
        try:
            event = json.loads(line)
            timestamp, metadata = event["timestamp"], event["metadata"]
            if timestamp <= self.last:
                raise WrongError(f"{timestamp} follows {self.last}")
            self.last = timestamp
            if event["type"] == "device":
                self._feed_device(**metadata)
            else:
                self._feed_key(**metadata)
        except (ValueError, KeyError, TypeError) as error:
            raise WrongError(f"{error!r} in the event {line[:300]!r}") from error

    def _feed_device(self, name: str, action: str, config: Mapping[str, str]) -> None:
        before = self._devices.get(name)
        if action == "removed":
            is_right = before == config
            self._devices.pop(name, None)
        else:
            is_right = before != config and (before is None) == (action == "added")
            self._devices[name] = config
        if not is_right:
            raise WrongError(f"{name} is {action}: {before} is followed by {config}")

    def _feed_key(self, key: str, old_value: str, value: str) -> None:
        before = self._config.get(key, "")
        if before != old_value:
            raise WrongError(
                f"{key} was {before[:30]!r}, but an event says {old_value[:30]!r}"
            )
        self._config[key] = value
        if not value:
            del self._config[key]
        if key == VERSION:
            self._check(int(old_value), int(value))

    def _check(self, old_version: int, version: int) -> None:
        old, new = self._history.get(old_version), self._history.get(version)
        if version <= old_version or version > self._history.latest.number:
            raise WrongError(f"version {version} follows {old_version}")
        if old and self._devices != old.devices:
            raise WrongError(f"{self._devices} instead of {old.devices}")
        if new and self._config != new.visible:
            raise WrongError(_difference(self._config, new))

    @property
    def version(self) -> int:
        """The latest version that was heard."""
        return int(self._config[VERSION])


def _difference(config: Mapping[str, str], snapshot: Snapshot) -> str:
    expected = snapshot.visible
    wrong = {
        key: (config.get(key, "")[:30], expected.get(key, "")[:30])
        for key in {*config, *expected}
        if config.get(key) != expected.get(key)
    }
    return f"at version {snapshot.number}, heard and expected: {wrong}"


class Listener:
    """A guest that listens, again and again.

    :param operator: operates its container.
    :param life: how long a connection stays, on average, in seconds.
    """

    def __init__(
        self, operator: Operator, report: Report, random: Random, life: float
    ) -> None:
        self._operator = operator
        self._report = report
        self._random = random
        self._life = life
        self._view: View | None = None

    async def listen(self) -> None:
        """Listen, until this is cancelled."""
        guest = self._operator.guest
        while True:
            await asyncio.sleep(self._random.uniform(0.1, 2))
            if not guest.is_up:
                continue
            dialect = self._random.choice(["lxd", "lxd6"])
            kind = self._random.choice(["plain", "websocket"])
            (way,) = self._random.choices(list(WAYS), list(WAYS.values()))
            failed = self._report.failed.total()
            with self._report.counting(f"listens ({kind}), reads {way}", guest):
                await self._listen_once(dialect, kind, way)
            if self._report.failed.total() > failed:
                # Each failure is counted once.
                self._view = None

    async def _listen_once(self, dialect: str, kind: str, way: str) -> None:
        guest, history = self._operator.guest, self._operator.history
        limit = 65536 if way == "at once" else 1024
        async with await guest.connect(dialect, limit=limit) as client:
            view = self._view
            if view and view.incarnation == history.incarnation and view.last:
                lines = await subscribe(client, kind, view.last)
                self._report.done["reconnects with since"] += 1
            else:
                # The version must be known from which the events start.
                async with self._operator.still:
                    if not guest.is_up:
                        return
                    self._view = view = View(self._operator)
                    lines = await subscribe(client, kind)
            await self._read(lines, view, way)

    async def _read(self, lines: AsyncIterator[bytes], view: View, way: str) -> None:
        """Read for a while, and then until the current version is heard."""
        history = self._operator.history
        end = time.monotonic() + self._random.expovariate(1 / self._life)
        if way == "after a while":
            await asyncio.sleep(min(self._life, self._random.uniform(1, 20)))
        target: int | None = None
        pending = _next(lines)
        try:
            while target is None or view.version < target:
                left = max(0, end - time.monotonic())
                if not (await asyncio.wait({pending}, timeout=left))[0]:
                    if target is not None:
                        raise WrongError(f"only version {view.version} of {target}")
                    target = history.settled
                    end = time.monotonic() + PATIENCE
                    continue
                line = pending.result()
                if line is None:
                    raise EOFError("the stream has ended")
                pending = _next(lines)
                if not line.strip():
                    continue
                view.feed(line)
                self._report.done["events heard"] += 1
                if way == "slowly":
                    await asyncio.sleep(SLOW_PAUSE * len(line) / SLOW_BYTES)
        finally:
            pending.cancel()


def _next(lines: AsyncIterator[bytes]) -> asyncio.Task[bytes | None]:
    """Start to read the next line; its result is ``None`` at the end."""

    async def read() -> bytes | None:
        return await anext(lines, None)

    return asyncio.create_task(read())


async def subscribe(client: Client, kind: str, since: str = "") -> AsyncIterator[bytes]:
    """Subscribe to events; return an iterator of them.

    :param kind: ``plain`` or ``websocket``.
    :param since: the timestamp to replay events from.
    """
    path = "/1.0/events" + (f"?since={quote(since)}" if since else "")
    if kind == "websocket":
        await client.upgrade(path)
        return client.messages()
    await client.send(request(path))
    status, headers = await asyncio.wait_for(client.head(), PATIENCE)
    if status != 200:
        raise WrongError(f"{status} instead of events")
    return lines_of(client.body("GET", status, headers))


async def lines_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a body."""
    rest: list[bytes] = []
    async for piece in pieces:
        *lines, last = piece.split(b"\n")
        for line in lines:
            yield b"".join(rest) + line
            rest.clear()
        rest.append(last)
