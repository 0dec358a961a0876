"""What guests that misbehave do; devlxd refuses it, or closes the connection."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

from benchmarks.soaking.client import PATIENCE, Client, MalformedError, frame, request
from benchmarks.soaking.listening import subscribe
from benchmarks.soaking.operating import Operator
from benchmarks.soaking.report import Report, WrongError

#: How many connections a container may have, and how long it may take to send a
#: request, in seconds (docs/limits.rst).
MOST, REQUEST_TIMEOUT = 1024, 10.0

#: How many connections a flood opens.
FLOOD = 1100

#: Requests that must be refused with a 4xx.
BAD_REQUESTS = {
    "garbage": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /1.0\r\n\r\n",
    "two lengths": request("/", "PATCH", "Content-Length: 1\r\nContent-Length: 2\r\n"),
    "length and chunks": request(
        "/", "PATCH", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"
    ),
    "folded header": request("/", headers="X: a\r\n b\r\n"),
    "space before colon": request("/", headers="X : a\r\n"),
    "huge header": request("/", headers=f"X: {'a' * 1_000_000}\r\n"),
    "huge target": request("/" + "a" * 1_000_000),
    "many headers": request("/", headers="".join(f"X{n}: a\r\n" for n in range(5000))),
    "bad chunk": request("/1.0", "PATCH", "Transfer-Encoding: chunked\r\n") + b"x\r\n",
    "huge body": request("/1.0", "PATCH", "Content-Length: 999999999\r\n"),
}

#: What no client may send on a websocket: data, by what is wrong with it.
BAD_FRAMES = {
    "unmasked": b"\x81\x01x",
    "reserved bits": b"\xf1" + frame(1, b"x")[1:],
    "unknown operation": frame(3, b"x"),
    "long ping": frame(9, b"x" * 126),
    "fragmented ping": frame(9, b"x", final=False),
    "continuation of nothing": frame(0, b"x"),
    "not UTF-8": frame(1, b"\xff\xfe"),
    "bad close": frame(8, b"\x03"),
    "large message": frame(2, b"x" * 70_000),
    "huge length": b"\x82\xff\x7f" + b"\xff" * 7 + b"mask",
}


class Misbehaver:
    """A guest that misbehaves, in one container after the other.

    :param operators: operate the containers.
    :param villain: operates a container in which nothing else happens.
    """

    def __init__(
        self,
        operators: list[Operator],
        villain: Operator,
        report: Report,
        random: Random,
    ) -> None:
        self._operators = operators
        self._villain = villain
        self._report = report
        self._random = random
        self._ways: dict[Callable[[Operator], Awaitable[None]], int] = {
            self._bad_request: 10,
            self._bad_frame: 10,
            self._random_bytes: 8,
            self._half_request: 6,
            self._aborted_request: 8,
            self._half_close: 6,
            self._unread_pipeline: 4,
            self._descriptors: 4,
            self._trickle: 2,
        }

    async def misbehave(self, pause: float) -> None:
        """Misbehave, until this is cancelled.

        :param pause: the average time between two misdeeds, in seconds.
        """
        while True:
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * pause)
            operator = self._random.choice([*self._operators, self._villain])
            (way,) = self._random.choices(list(self._ways), list(self._ways.values()))
            if operator.guest.is_up:
                what = f"misbehaves: {way.__name__[1:]}"
                # During a flood all others of that container are refused.
                refused = (MalformedError, ConnectionError, EOFError)
                may_be_refused = refused if operator is self._villain else ()
                counting = self._report.counting(what, operator.guest)
                with counting, suppress(*may_be_refused):
                    await way(operator)

    async def flood(self, pause: float) -> None:
        """Open too many connections now and then, until this is cancelled.

        :param pause: the average time between two floods, in seconds.
        """
        guest = self._villain.guest
        while True:
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * pause)
            with self._report.counting("misbehaves: floods", guest):
                await self._flood_once()

    async def _flood_once(self) -> None:
        connections = await self._villain.guest.open(FLOOD)
        try:
            for connection in connections:
                connection.setblocking(False)
            start = time.monotonic()
            while (closed := sum(map(_is_closed, connections))) < FLOOD - MOST:
                if time.monotonic() - start > PATIENCE:
                    raise WrongError(f"only {closed} of {FLOOD} connections are closed")
                await asyncio.sleep(0.2)
            # Later, those that send no request are closed as well. Some of those of
            # other misdeeds may be there too.
            is_early = time.monotonic() - start < REQUEST_TIMEOUT / 2
            if is_early and closed > FLOOD - MOST + 50:
                raise WrongError(f"{closed} of {FLOOD} connections are closed")
        finally:
            for number, connection in enumerate(connections):
                connection.close()
                if number % 100 == 0:
                    await asyncio.sleep(0)

    async def _bad_request(self, operator: Operator) -> None:
        what, data = self._random.choice(list(BAD_REQUESTS.items()))
        async with await operator.guest.connect() as client:
            await _send(client, data)
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                response = await client.response()
                if not 400 <= response.status < 500:
                    raise WrongError(f"{what}: {response}")
                await _read_to_the_end(client)

    async def _bad_frame(self, operator: Operator) -> None:
        data = self._random.choice(list(BAD_FRAMES.values()))
        async with await operator.guest.connect() as client:
            await client.upgrade("/1.0/events")
            await _send(client, data)
            await _read_to_the_end(client)

    async def _random_bytes(self, operator: Operator) -> None:
        async with await operator.guest.connect() as client:
            await _send(client, os.urandom(self._random.randint(1, 100_000)))
            with suppress(OSError):
                client.end()
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await client.response()
            await _read_to_the_end(client)

    async def _half_request(self, operator: Operator) -> None:
        """A connection is closed when a request does not end."""
        data = request("/1.0/config/user.version", headers="X: abcdefghijk\r\n")
        async with await operator.guest.connect() as client:
            await client.send(data[: self._random.randrange(len(data))])
            await _read_to_the_end(client)

    async def _aborted_request(self, operator: Operator) -> None:
        data = request("/1.0/config") * self._random.randint(1, 20)
        async with await operator.guest.connect() as client:
            await client.send(data[: self._random.randrange(len(data))])
            await asyncio.sleep(self._random.choice([0, 0, 0.05]))

    async def _half_close(self, operator: Operator) -> None:
        async with await operator.guest.connect() as client:
            await client.send(request("/1.0"))
            client.end()
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await client.response()
            await _read_to_the_end(client)

    async def _unread_pipeline(self, operator: Operator) -> None:
        data = request("/1.0/config/user.k0") * 5000
        async with await operator.guest.connect(limit=1024) as client:
            with suppress(asyncio.TimeoutError, ConnectionError):
                await asyncio.wait_for(client.send(data), 2)

    async def _descriptors(self, operator: Operator) -> None:
        (connection,) = await operator.guest.open(1)
        with connection:
            connection.setblocking(False)
            with suppress(OSError):
                socket.send_fds(connection, [request("/1.0")], [0] * 100)
            await asyncio.sleep(0.2)

    async def _trickle(self, operator: Operator) -> None:
        data = request("/1.0", headers=f"X: {'a' * 200}\r\n")
        async with await operator.guest.connect() as client:
            with suppress(ConnectionError):
                for byte in data:
                    await client.send(bytes([byte]))
                    await asyncio.sleep(0.25)
                raise WrongError("a request took a minute")

    async def stall(self, pause: float) -> None:
        """Subscribe and never read, until this is cancelled.

        :param pause: for how long, on average, in seconds.
        """
        guest = self._villain.guest
        while True:
            await asyncio.sleep(self._random.uniform(0, 5))
            if not guest.is_up:
                continue
            with self._report.counting("misbehaves: listens, never reads", guest):
                await self._stall_once(self._random.expovariate(1 / pause))

    async def _stall_once(self, seconds: float) -> None:
        # During a flood it is refused.
        with suppress(MalformedError, ConnectionError, EOFError):
            async with await self._villain.guest.connect(limit=1024) as client:
                await subscribe(client, self._random.choice(["plain", "websocket"]))
                await asyncio.sleep(seconds)


async def _send(client: Client, data: bytes) -> None:
    with suppress(ConnectionError):
        await client.send(data)


async def _read_to_the_end(client: Client) -> None:
    """Wait until devlxd closes the connection."""
    end = asyncio.get_running_loop().time() + PATIENCE
    with suppress(ConnectionError):
        while await asyncio.wait_for(client.reader.read(65536), PATIENCE):
            if asyncio.get_running_loop().time() > end:
                raise WrongError("the connection is not closed")


def _is_closed(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
