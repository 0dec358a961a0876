"""Connections that one service hands over to the next, on the real reactor.

Both services are in this process, one after the other. ``test_restarts`` does the same
with systemd.
"""

from __future__ import annotations

import json
import random
import re
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.events.journal import SQLiteJournal
from devlxd.host.adopted import AdoptedEndpoint
from devlxd.model import Container
from devlxd.peers.assumed_identifier import AssumedIdentifier
from devlxd.service import DevLXDService
from tests.guestapi.test_event_streams import (
    CONTINUATION,
    HANDSHAKE,
    TEXT,
    chunks,
    frames,
)

GET = b"GET /1.0/config/user.a HTTP/1.1\r\nHost: x\r\n\r\n"

EVENTS = b"GET /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n"

#: How many restarts there are, and how many clients of each kind.
RESTARTS = 10
CLIENTS = 20

#: The time to wait for a client, in seconds.
TIMEOUT = 60


class Client(Protocol):
    """A client.

    :ivar is_lost: whether the connection was closed.
    """

    is_lost = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol.connectionLost`."""
        self.is_lost = True


class Listener(Client):
    """A client that listens to events.

    :param request: its request for events.
    :ivar received: all data, including the head of the response.
    """

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.received = b""

    def connectionMade(self) -> None:
        """See `IProtocol.connectionMade`."""
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        self.received += data

    def values(self) -> list[str]:
        """Return the new values of the events."""
        head, _, body = self.received.partition(b"\r\n\r\n")
        if b" 101 " in head:
            messages = b"".join(
                payload if opcode == CONTINUATION else b"\n" + payload
                for opcode, payload in frames(body)
                if opcode in (TEXT, CONTINUATION)
            )
        else:
            messages = b"".join(chunks(body))
        return [
            json.loads(line)["metadata"]["value"]
            for line in messages.splitlines()
            if line
        ]


class Asker(Client):
    """A client that asks one question after the other, in pieces.

    :ivar answered: how many questions were answered.
    """

    def __init__(self) -> None:
        self._received = b""
        self.answered = 0

    def connectionMade(self) -> None:
        """See `IProtocol.connectionMade`."""
        self._ask()

    def _ask(self) -> None:
        cut = random.randrange(len(GET) + 1)
        assert self.transport is not None
        self.transport.write(GET[:cut])
        installed.callLater(random.random() / 100, self._ask_rest, GET[cut:])

    def _ask_rest(self, data: bytes) -> None:
        if not self.is_lost:
            assert self.transport is not None
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol.dataReceived`."""
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if length is None or len(body) < int(length[1]):
            return
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        assert len(body) == int(length[1]), body
        self._received = b""
        self.answered += 1
        self._ask()


class HandoverTests(TestCase):
    """Services that follow each other without a pause."""

    timeout = 300

    def setUp(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.address = str(Path(self.directory.name, "sock"))
        self.listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listening.close)
        self.listening.bind(self.address)
        self.listening.listen(1000)
        self.store = MemoryStore()
        self.count = -1
        self.change()
        self.start()
        self.addCleanup(self.stop)

    def start(self) -> None:
        """Start a service."""
        self.service = DevLXDService(
            installed,  # type: ignore[arg-type] # the real reactor
            self.store,
            {"lxd": AdoptedEndpoint(self.listening.fileno())},
            AssumedIdentifier("c1"),
            journal=SQLiteJournal(str(Path(self.directory.name, "journal"))),
        )
        self.service.privilegedStartService()
        self.service.startService()

    def stop(self) -> object:
        """Stop the current service."""
        return self.service.stopService()

    def change(self) -> None:
        """Change the container."""
        self.count += 1
        config = {"user.a": str(self.count), "volatile.uuid": "1"}
        self.store.put(Container("c1", config))

    async def connect(self, protocol: Protocol) -> None:
        """Connect a client."""
        endpoint = UNIXClientEndpoint(installed, self.address)
        await connectProtocol(endpoint, protocol)

    async def wait_until(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait for a condition."""
        for _ in range(TIMEOUT * 100):
            if is_true():
                return
            await deferLater(installed, 0.01)
        self.fail(what)

    async def restart(self) -> None:
        """Hand all connections over to a new service."""
        connections = await self.service.hand_over()
        stopped: Deferred[None] = maybeDeferred(self.service.stopService)
        self.assertTrue(stopped.called)
        self.change()
        self.start()
        self.assertEqual(self.service.adopt(connections), [])

    def test_nobody_notices(self) -> Deferred[None]:
        """No connect is refused, no question fails, no stream has a gap."""
        return Deferred.fromCoroutine(self.restart_under_load(RESTARTS))

    async def restart_under_load(self, restarts: int) -> None:
        """Restart while clients ask and listen; check what each has received."""
        listeners = [Listener(EVENTS) for _ in range(CLIENTS)]
        listeners += [Listener(HANDSHAKE % b"") for _ in range(CLIENTS)]
        askers = [Asker() for _ in range(CLIENTS)]
        for client in (*listeners, *askers):
            await self.connect(client)
        await self.wait_until(
            lambda: all(b"\r\n\r\n" in one.received for one in listeners), "heads"
        )
        first = self.count + 1
        changing = LoopingCall(self.change)
        changing.start(0.003)
        for _ in range(restarts):
            fresh = Asker()
            await self.connect(fresh)
            askers.append(fresh)
            for asker in askers:
                asker.answered = 0
            await self.restart()
            await self.wait_until(
                lambda: all(one.answered for one in askers), "answers"
            )
        changing.stop()
        expected = [str(number) for number in range(first, self.count + 1)]
        for listener in listeners:
            await self.wait_until(partial(self.has_event, listener), "the last event")
            self.assertEqual(listener.values(), expected)
        clients = (*listeners, *askers)
        for client in clients:
            self.assertFalse(client.is_lost)
            assert client.transport is not None
            client.transport.loseConnection()
        await self.wait_until(lambda: all(one.is_lost for one in clients), "the end")

    def has_event(self, listener: Listener) -> bool:
        """Return whether a client has received the last event."""
        return f'"{self.count}"'.encode() in listener.received
