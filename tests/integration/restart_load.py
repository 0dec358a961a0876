"""A guest that asks without a pause, and listens to events, while devlxd restarts.

It runs in a guest with the standard library alone: ``python3 restart_load.py DIR
SOCKET CALLERS PLAIN WEBSOCKETS``. There are three kinds of callers, as many as
CALLERS of each: *fresh* ones open a connection for each question, *kept* ones ask all
on one connection, *half* ones send the second half of a question later. It writes

* ``DIR/listening`` when all streams are open,
* ``DIR/result``, a JSON object (`Load.result`), when ``DIR/stop`` contains a number
  and all streams have heard as many keys, but after a minute at the latest.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

QUESTION = b"GET /1.0/config/user.answer HTTP/1.1\r\nHost: lxd\r\n\r\n"
ANSWER = b"42"

#: How long each kind of caller waits between two questions, in seconds.
PAUSE = 0.02

#: How long a half question waits for its other half, at most, in seconds.
HALF = 1.0

#: The opcodes of control frames (RFC 6455, section 5.5).
CLOSE, PING, PONG = 8, 9, 10

#: How long the streams may take to hear the last keys, in seconds.
PATIENCE = 60.0

#: What a connect fails with that is refused.
REFUSED = (ConnectionRefusedError, FileNotFoundError, BlockingIOError, PermissionError)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Load:
    """The callers and listeners of one guest.

    :ivar asked: the number of questions by kind of caller.
    :ivar refused: the number of connects that were refused.
    :ivar failed: the errors of questions, and how often they happened.
    :ivar slowest: the duration of the slowest question, in seconds.
    :ivar ended: the streams that ended before they were closed.
    :ivar heard: the numbers of the added keys that each stream has heard, in order.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.asked: Counter[str] = Counter()
        self.refused = 0
        self.failed: Counter[str] = Counter()
        self.slowest = 0.0
        self.ended: list[str] = []
        self.heard: list[list[int]] = []
        self.open = 0

    async def connect(self) -> Streams:
        """Connect; count it if that is refused."""
        try:
            return await asyncio.open_unix_connection(self.path)
        except REFUSED:
            self.refused += 1
            raise

    async def ask(self, streams: Streams, kind: str, first: int = 0) -> None:
        """Ask a question; the part after ``first`` bytes follows later."""
        reader, writer = streams
        if first:
            writer.write(QUESTION[:first])
            await asyncio.sleep(random.uniform(0, HALF))  # no secret
        start = time.monotonic()
        writer.write(QUESTION[first:])
        status, fields = await read_head(reader)
        body = await reader.readexactly(int(fields[b"content-length"]))
        if b" 200 " not in status or body != ANSWER:
            raise ValueError(f"{status!r}: {body!r}")
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.asked[kind] += 1

    async def call(self, kind: str) -> None:
        """Ask for ever, as a caller of one kind."""
        streams = None
        while True:
            try:
                streams = streams or await self.connect()
                first = random.randrange(1, len(QUESTION)) if kind == "half" else 0
                await self.ask(streams, kind, first)
            except Exception as error:
                self.failed[f"{kind}: {error!r}"] += 1
                if streams:
                    streams[1].close()
                streams = None
                await asyncio.sleep(PAUSE)
                continue
            if kind == "fresh":
                streams[1].close()
                streams = None
            await asyncio.sleep(random.uniform(0, PAUSE * 2))

    async def listen(self, is_websocket: bool) -> None:
        """Listen to events for ever; after a break, go on after the last one."""
        since, heard = "", list[int]()
        self.heard.append(heard)
        while True:
            try:
                reader, writer = await self.connect()
                head = f"GET /1.0/events?type=config&since={since} HTTP/1.1\r\n"
                start = await self.subscribe(reader, writer, head, is_websocket)
                since = since or start
                self.open += 1
                lines = messages(reader, writer) if is_websocket else chunks(reader)
                rest = b""
                async for data in lines:
                    *texts, rest = (rest + data).split(b"\n")
                    for text in filter(None, texts):
                        event = json.loads(text)
                        since = event["timestamp"].replace("+", "%2B")
                        if "key" not in event["metadata"]:
                            raise ValueError(text)
                        number = event["metadata"]["key"].rpartition("key")[2]
                        if number.isdecimal():
                            heard.append(int(number))
                self.ended.append(f"websocket={is_websocket}: end")
            except Exception as error:
                self.ended.append(f"websocket={is_websocket}: {error!r}")
            await asyncio.sleep(PAUSE)

    async def subscribe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        head: str,
        is_websocket: bool,
    ) -> str:
        """Ask for events; return the time from which on they arrive."""
        if is_websocket:
            key = base64.b64encode(os.urandom(16)).decode()
            head += "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            head += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        writer.write(f"{head}Host: lxd\r\n\r\n".encode())
        status, fields = await read_head(reader)
        if (b" 101 " if is_websocket else b" 200 ") not in status:
            raise ValueError(f"{status!r}")
        return fields[b"x-devlxd-timestamp"].decode().replace("+", "%2B")

    def result(self) -> dict[str, object]:
        """Return what happened, for JSON."""
        return {
            "asked": self.asked,
            "refused": self.refused,
            "failed": self.failed,
            "slowest": self.slowest,
            "ended": self.ended,
            "heard": self.heard,
        }


async def read_head(
    reader: asyncio.StreamReader,
) -> tuple[bytes, dict[bytes, bytes]]:
    """Read the head of a response: its status line and its fields."""
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    pairs = [line.partition(b":") for line in lines]
    return status, {name.lower(): value.strip() for name, _, value in pairs}


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the chunks of a body; one may contain a part of a line."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]


async def messages(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncIterator[bytes]:
    """Yield each frame of a websocket until it is closed; a message ends with LF."""
    while True:
        first, size = await reader.readexactly(2)
        if size >= 126:
            extended = await reader.readexactly(2 if size == 126 else 8)
            size = int.from_bytes(extended, "big")
        data = await reader.readexactly(size)
        opcode, is_last = first & 15, first & 128
        if opcode == CLOSE:
            return
        if opcode == PING:
            # The mask may be zero.
            writer.write(bytes([128 | PONG, 128 | size, 0, 0, 0, 0]) + data)
        elif opcode != PONG:
            yield data + (b"\n" if is_last else b"")


async def main(
    home: Path, path: str, callers: int, plain: int, websockets: int
) -> None:
    """Run the load until it has to stop, and write what happened."""
    load = Load(path)
    tasks = [asyncio.create_task(load.listen(False)) for _ in range(plain)]
    tasks += [asyncio.create_task(load.listen(True)) for _ in range(websockets)]
    while load.open < plain + websockets:
        await asyncio.sleep(PAUSE)
    for kind in ("fresh", "kept", "half"):
        tasks += [asyncio.create_task(load.call(kind)) for _ in range(callers)]
    (home / "listening").touch()
    while not (home / "stop").exists():
        await asyncio.sleep(PAUSE)
    keys, end = int((home / "stop").read_text()), time.monotonic() + PATIENCE
    while time.monotonic() < end and any(len(h) < keys for h in load.heard):
        await asyncio.sleep(PAUSE)
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    (home / "writing").write_text(json.dumps(load.result()))
    (home / "writing").rename(home / "result")


if __name__ == "__main__":
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    numbers = map(int, sys.argv[3:])
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], *numbers))
