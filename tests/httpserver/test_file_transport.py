"""Tests of `devlxd.httpserver.file_transport`."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd.httpserver.file_transport import MOST_UNREAD, TURN, FileTransport
from devlxd.httpserver.prompt_transport import PromptTransport
from devlxd.model import FileRange
from devlxd.testing import MemoryDevLXDReactor

SIZE = 3 * TURN


class FileTransportTests(SynchronousTestCase):
    """Sending of files, to a socket."""

    def setUp(self) -> None:
        path = Path(tempfile.mkdtemp(dir=".")) / "file"
        self.data = os.urandom(SIZE)
        path.write_bytes(self.data)
        self.file = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, self.file)
        self.reactor = MemoryDevLXDReactor()
        self.connect(FileTransport)
        self.may_continue = True
        self.calls = 0

    def connect(self, kind: type[FileTransport]) -> None:
        """Connect a client to a transport."""
        ours, self.client = socket.socketpair()
        self.addCleanup(self.client.close)
        ours.setblocking(False)
        self.client.setblocking(False)
        self.transport = kind(ours, Protocol(), self.reactor)
        self.addCleanup(self.transport.connectionLost, Failure(ConnectionDone()))

    def continues(self) -> bool:
        """Return whether to send more."""
        self.calls += 1
        return self.may_continue

    def send(self, start: int = 0, size: int = SIZE) -> Deferred[int]:
        """Send from the file."""
        data = FileRange(self.file, start, size)
        return self.transport.send_file(data, self.continues)

    def is_writing(self) -> bool:
        """Return whether the transport waits for room."""
        return self.transport in self.reactor.writers

    def write(self) -> None:
        """Make the transport write as long as it does not wait for the client."""
        before = None
        while self.is_writing() and before != self.state():
            before = self.state()
            self.assertIsNone(self.transport.doWrite())

    def state(self) -> object:
        """Return what changes when the transport writes."""
        sending = self.transport._sending
        left = sending and sending.left
        return left, self.transport.is_queued, self.is_writing()

    def receive(self) -> bytes:
        """Return all that the client receives, while the transport writes."""
        received = bytearray()
        while True:
            self.write()
            try:
                received += self.client.recv(SIZE)
            except BlockingIOError:
                return bytes(received)

    def test_whole(self) -> None:
        """A part of a file is sent; then nothing is left for the reactor."""
        sending = self.send(10, SIZE - 20)
        self.assertTrue(self.transport.is_queued)
        self.assertEqual(self.receive(), self.data[10:-10])
        self.assertEqual(self.successResultOf(sending), SIZE - 20)
        self.assertFalse(self.transport.is_queued)
        self.assertFalse(self.is_writing())

    def test_order(self) -> None:
        """What was written before a file is sent before it."""
        for kind in (FileTransport, PromptTransport):
            self.connect(kind)
            written = b"before" * 100_000
            self.transport.write(written)
            self.assertTrue(self.transport.is_queued)
            sending = self.send(0, 100)
            self.assertEqual(self.receive(), written + self.data[:100])
            self.assertEqual(self.successResultOf(sending), 100)

    def test_one_after_the_other(self) -> None:
        """The next part may be sent when the Deferred of the last one fires."""
        sending = self.send(0, 10).addCallback(lambda _: self.send(20, 10))
        self.assertEqual(self.receive(), self.data[:10] + self.data[20:30])
        self.assertEqual(self.successResultOf(sending), 10)

    def test_does_not_read(self) -> None:
        """If the client does not read, a limited amount is sent, and no more."""
        sending = self.send()
        self.write()
        self.assertNoResult(sending)
        self.assertTrue(self.is_writing())
        unread = 0
        while True:
            try:
                unread += len(self.client.recv(SIZE))
            except BlockingIOError:
                break
        self.assertLess(unread, MOST_UNREAD)
        self.assertEqual(unread + len(self.receive()), SIZE)
        self.assertEqual(self.successResultOf(sending), SIZE)

    def test_turns(self) -> None:
        """One call of the reactor sends a limited amount."""
        sent: list[int] = []

        def sendfile(out: int, file: int, start: int, size: int) -> int:
            sent.append(size)
            return size

        self.patch(os, "sendfile", sendfile)
        self.send(0, TURN + 5)
        self.transport.doWrite()
        self.assertEqual(sent, [TURN])
        self.transport.doWrite()
        self.assertEqual(sent, [TURN, 5])

    def test_ends_in_time(self) -> None:
        """When there is room, the sender is asked whether to send more."""
        sending = self.send()
        self.write()
        self.may_continue = False
        received = self.receive()
        sent = self.successResultOf(sending)
        self.assertEqual(received, self.data[:sent])
        self.assertTrue(0 < sent < SIZE, sent)

    def test_shorter_file(self) -> None:
        """At the end of a file that has become shorter, no more is sent."""
        sending = self.send(0, SIZE)
        os.truncate(self.file, 1000)
        self.assertEqual(self.receive(), self.data[:1000])
        self.assertEqual(self.successResultOf(sending), 1000)
        self.assertFalse(self.is_writing())

    def test_cannot_be_sent(self) -> None:
        """If a file cannot be sent, nothing is; the connection stays open."""
        directory = os.open(".", os.O_RDONLY)
        self.addCleanup(os.close, directory)
        sending = self.transport.send_file(FileRange(directory, 0, 1), self.continues)
        self.assertEqual(self.receive(), b"")
        self.assertEqual(self.successResultOf(sending), 0)
        self.assertTrue(self.transport.connected)

    def test_closed_by_client(self) -> None:
        """The reactor is told that the client has closed the connection."""
        sending = self.send()
        self.client.close()
        why = self.transport.doWrite()
        assert isinstance(why, ConnectionLost)
        self.transport.connectionLost(Failure(why))
        self.assertEqual(self.successResultOf(sending), 0)
        self.assertEqual(self.successResultOf(self.send()), 0)

    def test_lost(self) -> None:
        """If the connection is lost, no more is sent, and no room is waited for."""
        sending = self.send()
        self.write()
        self.assertNoResult(sending)
        self.transport.abortConnection()
        self.reactor.advance(0)
        self.assertTrue(0 < self.successResultOf(sending) < SIZE)
        self.assertFalse(self.is_writing())

    def test_buffer(self) -> None:
        """The socket's buffer is as large as usual when data is written."""
        option = (socket.SOL_SOCKET, socket.SO_SNDBUF)
        usual = self.transport.socket.getsockopt(*option)
        self.transport.restore_buffer()
        for _ in range(2):
            self.send(0, 10)
            self.assertGreater(self.transport.socket.getsockopt(*option), usual)
            self.receive()
            self.transport.restore_buffer()
            self.assertEqual(self.transport.socket.getsockopt(*option), usual)

    def test_large_buffer(self) -> None:
        """A buffer that is larger than for files is not set again."""
        option = (socket.SOL_SOCKET, socket.SO_SNDBUF)
        self.transport.socket.setsockopt(*option, 2 * MOST_UNREAD)
        self.send(0, 10)
        self.receive()
        self.transport.restore_buffer()
        size = self.transport.socket.getsockopt(*option)
        self.assertLess(size, MOST_UNREAD)
