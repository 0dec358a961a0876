"""What an operator's programs ask at the socket of ``--admin``."""

from __future__ import annotations

import asyncio
import json
import os
import re
from random import Random

from benchmarks.soaking.client import PATIENCE, Client, Response, request
from benchmarks.soaking.listening import lines_of
from benchmarks.soaking.operating import Operator
from benchmarks.soaking.report import Report, WrongError

#: The paths that always exist.
PATHS = ["/status", "/containers", "/healthz", "/metrics", "/overview", "/"]

#: A value of a config key, see `Snapshot.changed`. It is for guests only.
_VALUE = re.compile(rb"user\.k\d in \d")

#: How many lines the metrics may have: guests cannot make up labels.
MAX_METRICS = 500


class Watcher:
    """A program of the operator.

    :param operators: operate the containers.
    :param address: the path of the socket.
    """

    def __init__(
        self, operators: list[Operator], address: str, report: Report, random: Random
    ) -> None:
        self._operators = operators
        self._address = address
        self._report = report
        self._random = random

    async def watch(self, pause: float) -> None:
        """Ask for everything, until this is cancelled.

        :param pause: the average time between two requests, in seconds.
        """
        while True:
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * pause)
            path = self._random.choice([*PATHS, "/containers/", "/why", "/reload"])
            with self._report.counting(f"operator: asks for {path}"):
                await self._ask(path)

    async def _ask(self, path: str) -> None:
        method, statuses = "GET", [200]
        if path == "/containers/":
            path += self._random.choice(self._operators).guest.name
            statuses.append(404)
        elif path == "/why":
            path += f"?pid={os.getpid()}"
        elif path == "/reload":
            method = "POST"
        async with await self._connect() as client:
            _check(path, await client.ask(path, method), statuses)

    async def follow(self, life: float) -> None:
        """Read the events, again and again, until this is cancelled.

        :param life: how long a connection stays, on average, in seconds.
        """
        while True:
            with self._report.counting("operator: follows events"):
                async with await self._connect() as client:
                    await client.send(request("/events"))
                    await self._follow(client, self._random.expovariate(1 / life))

    async def _follow(self, client: Client, seconds: float) -> None:
        status, headers = await asyncio.wait_for(client.head(), PATIENCE)
        if status != 200:
            raise WrongError(f"{status} instead of events")

        async def read() -> None:
            async for line in lines_of(client.body("GET", status, headers)):
                if _VALUE.search(line) or (line.strip() and "event" not in _json(line)):
                    raise WrongError(f"an event {line[:300]!r}")
                self._report.done["operator: events heard"] += 1
            raise EOFError("the events have ended")

        reading = asyncio.create_task(read())
        try:
            if (await asyncio.wait({reading}, timeout=seconds))[0]:
                reading.result()
        finally:
            reading.cancel()

    async def _connect(self) -> Client:
        return Client(*await asyncio.open_unix_connection(self._address))


def _check(path: str, response: Response, statuses: list[int]) -> None:
    if response.status not in statuses or _VALUE.search(response.body):
        raise WrongError(f"{path}: {response}")
    if path == "/metrics" and response.body.count(b"\n") > MAX_METRICS:
        raise WrongError(f"{path}: {response.body.count(10)} lines")


def _json(line: bytes) -> dict[str, object]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise WrongError(f"not an object: {line[:300]!r}")
    return value
