"""What guests that ask do, and whether each answer is right."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random

from attrs import frozen

from benchmarks.soaking.client import PATIENCE, Client, Response, request
from benchmarks.soaking.documents import DEVICES, KEYS, VERSION, Snapshot
from benchmarks.soaking.operating import Operator
from benchmarks.soaking.report import Report, WrongError

#: The paths that guests ask for.
PATHS = [
    "/1.0/config",
    "/1.0/devices",
    *(f"/1.0/config/{key}" for key in KEYS),
    *(f"/1.0/device/{name}" for name in DEVICES),
]

#: The answers that are the same for all containers, by path.
CONSTANTS: dict[str, tuple[int, object]] = {
    "/": (200, ["/1.0"]),
    "/1.0": (200, {"api_version": "1.0"}),
    "/1.0/nothing": (404, "not found\n"),
    "/nothing": (404, "not found\n"),
}


@frozen
class Image:
    """An image in the directory of images.

    :ivar path: its path in the API.
    """

    path: str
    content: bytes

    @classmethod
    def create(cls, directory: Path, size: int) -> Image:
        """Write a public image with random content."""
        content = os.urandom(size)
        fingerprint = hashlib.sha256(content).hexdigest()
        (directory / fingerprint).write_bytes(content)
        (directory / f"{fingerprint}.yaml").write_text("public: true\n")
        return cls(f"/1.0/images/{fingerprint}/export", content)


class Asker:
    """A guest that asks, in one container after the other.

    :param operators: operate the containers.
    :param address: the path of devlxd's socket on the host.
    """

    def __init__(
        self,
        operators: list[Operator],
        images: list[Image],
        address: str,
        report: Report,
        random: Random,
    ) -> None:
        self._operators = operators
        self._images = images
        self._address = address
        self._report = report
        self._random = random
        self._ways: dict[Callable[[Operator], Awaitable[None]], int] = {
            self._fresh: 30,
            self._new_process: 6,
            self._keep_alive: 12,
            self._pipelined: 8,
            self._conditional: 8,
            self._head: 8,
            self._as_user: 4,
            self._refused: 4,
            self._of_host: 3,
            self._as_object: 4,
            self._ready: 4,
            self._whole_image: 2,
            self._range_of_image: 6,
            self._aborted_image: 3,
            self._idle: 1,
        }

    async def ask(self, pause: float) -> None:
        """Ask, until this is cancelled.

        :param pause: the average time between two ways to ask, in seconds.
        """
        while True:
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * pause)
            operator = self._random.choice(self._operators)
            (way,) = self._random.choices(list(self._ways), list(self._ways.values()))
            if operator.guest.is_up:
                what = f"asks: {way.__name__[1:]}"
                with self._report.counting(what, operator.guest):
                    await way(operator)

    async def _fresh(self, operator: Operator) -> None:
        start = time.monotonic()
        async with await operator.guest.connect() as client:
            await self._ask(client, operator, self._path())
        self._report.record_time(time.monotonic() - start)

    async def _new_process(self, operator: Operator) -> None:
        async with await operator.guest.connect(uid=0) as client:
            await self._ask(client, operator, self._path())

    async def _keep_alive(self, operator: Operator) -> None:
        async with await operator.guest.connect() as client:
            for _ in range(self._random.randint(2, 10)):
                await self._ask(client, operator, self._path())
                await asyncio.sleep(self._random.uniform(0, 1))

    async def _pipelined(self, operator: Operator) -> None:
        paths = [self._path() for _ in range(self._random.randint(2, 20))]
        data = b"".join(map(request, paths))
        async with await operator.guest.connect() as client:
            lowest = operator.history.settled
            cut = self._random.randrange(len(data))
            await client.send(data[:cut])
            await asyncio.sleep(self._random.choice([0, 0.1]))
            await client.send(data[cut:])
            for path in paths:
                _check(await client.response(), operator, path, lowest)

    async def _conditional(self, operator: Operator) -> None:
        path = self._path()
        async with await operator.guest.connect() as client:
            first = await self._ask(client, operator, path)
            if first.status != 200:
                return
            lowest = operator.history.settled
            header = f"If-None-Match: {first.headers['etag']}\r\n"
            again = await client.ask(path, headers=header)
            if again.status == 304:
                if again.headers["etag"] != first.headers["etag"] or again.body:
                    raise WrongError(f"a 304 with {again.headers}")
                # The first response must still be right.
                _check(first, operator, path, lowest)
            else:
                _check(again, operator, path, lowest)

    async def _head(self, operator: Operator) -> None:
        path = self._path()
        async with await operator.guest.connect() as client:
            for _ in range(10):
                before = await client.ask(path)
                head = await client.ask(path, "HEAD")
                after = await self._ask(client, operator, path)
                if before.body == after.body:
                    break
            else:
                return
        if (head.status, head.body) != (after.status, b""):
            raise WrongError(f"HEAD: {head} instead of {after}")
        same = ("content-length", "content-type", "etag")
        if any(head.headers.get(name) != after.headers.get(name) for name in same):
            raise WrongError(f"HEAD: {head.headers} instead of {after.headers}")

    async def _as_user(self, operator: Operator) -> None:
        async with await operator.guest.connect(uid=1000) as client:
            response = await client.ask(self._path())
        _expect(response, 401, b"Access denied for non-root user\n")

    async def _refused(self, operator: Operator) -> None:
        async with await operator.guest.connect() as client:
            response = await client.ask("/1.0/config", "POST", body=b"x" * 1000)
            if (response.status, response.headers.get("allow")) != (405, "GET, HEAD"):
                raise WrongError(f"POST: {response} {response.headers}")
            await self._ask(client, operator, self._path())

    async def _of_host(self, _operator: Operator) -> None:
        reader, writer = await asyncio.open_unix_connection(self._address)
        async with Client(reader, writer) as client:
            _expect(await client.ask(self._path()), 500, b"not in a container\n")

    async def _as_object(self, operator: Operator) -> None:
        async with await operator.guest.connect("lxd6") as client:
            lowest = operator.history.settled
            response = await client.ask("/1.0/config?recursion=1")
            _check_value(response, operator, lowest, lambda snapshot: snapshot.visible)
            lowest = operator.history.settled
            response = await client.ask("/1.0/devices")
            _check_value(response, operator, lowest, lambda snapshot: snapshot.devices)

    async def _ready(self, operator: Operator) -> None:
        async with operator.ready, await operator.guest.connect("lxd6") as client:
            for state in self._random.sample(["Ready", "Started"], 2):
                body = json.dumps({"state": state}).encode()
                _expect(await client.ask("/1.0", "PATCH", body=body), 200, b"")
                response = await client.ask("/1.0")
                if json.loads(response.body)["state"] != state:
                    raise WrongError(f"not {state}: {response}")

    async def _whole_image(self, operator: Operator) -> None:
        image = self._random.choice(self._images)
        async with operator.downloads, await operator.guest.connect() as client:
            response = await client.ask(image.path)
            _expect(response, 200, image.content)
            header = f"If-None-Match: {response.headers['etag']}\r\n"
            _expect(await client.ask(image.path, headers=header), 304, b"")

    async def _range_of_image(self, operator: Operator) -> None:
        image = self._random.choice(self._images)
        size = len(image.content)
        first = self._random.randrange(size)
        last = self._random.randrange(first, min(size, first + 500_000))
        header = f"Range: bytes={first}-{last}\r\n"
        async with operator.downloads, await operator.guest.connect() as client:
            response = await client.ask(image.path, headers=header)
        _expect(response, 206, image.content[first : last + 1])
        content_range = f"bytes {first}-{last}/{size}"
        if response.headers.get("content-range") != content_range:
            raise WrongError(f"{response.headers} instead of {content_range}")

    async def _aborted_image(self, operator: Operator) -> None:
        image = self._random.choice(self._images)
        guest = operator.guest
        async with operator.downloads, await guest.connect(limit=4096) as client:
            await client.send(request(image.path))
            status, _ = await asyncio.wait_for(client.head(), PATIENCE)
            if status != 200:
                raise WrongError(f"{status} instead of an image")
            size = self._random.randrange(len(image.content) // 2)
            await asyncio.wait_for(client.reader.readexactly(size), PATIENCE)
            await asyncio.sleep(self._random.choice([0, 0, 3]))

    async def _idle(self, operator: Operator) -> None:
        """A connection is closed when it is idle."""
        async with await operator.guest.connect() as client:
            await self._ask(client, operator, self._path())
            if await asyncio.wait_for(client.reader.read(1), 2 * PATIENCE):
                raise WrongError("data without a request")

    def _path(self) -> str:
        if self._random.random() < 0.1:
            return self._random.choice(list(CONSTANTS))
        return self._random.choice([*PATHS, f"/1.0/config/{VERSION}"])

    async def _ask(self, client: Client, operator: Operator, path: str) -> Response:
        lowest = operator.history.settled
        response = await client.ask(path)
        _check(response, operator, path, lowest)
        return response


def _check(response: Response, operator: Operator, path: str, lowest: int) -> None:
    """Check a response.

    :param lowest: the number of the version that devlxd had certainly read when the
        request was sent.
    :raises WrongError: if it is right in no version since then.
    """
    if path in CONSTANTS:
        answers = [CONSTANTS[path]]
    else:
        answers = [each.answer(path) for each in operator.history.since(lowest)]
    for status, body in answers:
        if status == response.status:
            if isinstance(body, str) and body.encode() == response.body:
                return
            if not isinstance(body, str) and _json(response.body) == body:
                return
    raise WrongError(f"{path}: {response} instead of {str(answers)[:500]}")


def _check_value(
    response: Response,
    operator: Operator,
    lowest: int,
    value_of: Callable[[Snapshot], Mapping[str, object]],
) -> None:
    """Check an object; see `_check`."""
    got = _json(response.body)
    if all(value_of(each) != got for each in operator.history.since(lowest)):
        raise WrongError(f"{response} is no version since {lowest}")


def _expect(response: Response, status: int, body: bytes) -> None:
    if (response.status, response.body) != (status, body):
        raise WrongError(f"{response} instead of {status} {body[:100]!r}")


def _json(body: bytes) -> object:
    try:
        value: object = json.loads(body)
    except ValueError as error:
        raise WrongError(f"{error}: {body[:200]!r}") from None
    return value
