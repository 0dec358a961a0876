"""Tests of `devlxd.httpserver.prompt_transport`."""

from __future__ import annotations

import socket

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from devlxd import fast_paths
from devlxd.fast_paths import FastPath
from devlxd.httpserver.file_transport import FileTransport
from devlxd.httpserver.prompt_transport import (
    MOST_AT_ONCE,
    PromptTransport,
    transport_class,
)
from devlxd.testing import MemoryDevLXDReactor


class PromptTransportTests(SynchronousTestCase):
    """Writes to a connection."""

    def setUp(self) -> None:
        ours, self.client = socket.socketpair()
        self.addCleanup(self.client.close)
        self.client.setblocking(False)
        self.transport = PromptTransport(ours, Protocol(), MemoryDevLXDReactor())
        self.addCleanup(self.transport.abortConnection)

    def read_all(self) -> bytes:
        """Read what was sent, while the transport sends the rest."""
        received = b""
        while True:
            try:
                received += self.client.recv(2**20)
            except BlockingIOError:
                if not self.transport.is_queued:
                    return received
                self.transport.doWrite()

    def test_at_once(self) -> None:
        """Data is sent when it is written; nothing is left for the reactor."""
        self.transport.write(b"abc")
        self.assertEqual(self.client.recv(10), b"abc")
        self.assertFalse(self.transport.is_queued)

    def test_sequence(self) -> None:
        """A sequence is sent as one piece."""
        self.transport.writeSequence([b"ab", b"", b"c"])
        self.assertEqual(self.client.recv(10), b"abc")
        self.assertFalse(self.transport.is_queued)

    def test_order(self) -> None:
        """What the client does not read yet is queued, and sent in order."""
        written = [bytes([n]) * 2**18 for n in range(8)]
        for data in written:
            self.transport.write(data)
        self.assertTrue(self.transport.is_queued)
        self.assertEqual(self.read_all(), b"".join(written))

    def test_fast_client(self) -> None:
        """However fast a client reads, others have their turns."""
        piece = bytes(MOST_AT_ONCE // 2)
        for number in range(6):
            self.transport.write(piece)
            self.assertEqual(self.transport.is_queued, number % 3 == 2)
            if self.transport.is_queued:
                self.assertEqual(self.client.recv(2**20), piece * 2)
                self.transport.doWrite()
                self.assertEqual(self.client.recv(2**20), piece)

    def test_closed_by_client(self) -> None:
        """An error is found by the reactor, not raised to the writer."""
        self.client.close()
        self.transport.write(b"abc")
        self.assertTrue(self.transport.is_queued)
        self.assertTrue(self.transport.doWrite())

    def test_closed(self) -> None:
        """Writing to a closed transport does nothing."""
        self.transport.connectionLost(Failure(ConnectionDone()))
        self.transport.write(b"abc")
        self.assertEqual(self.client.recv(10), b"")

    def test_aborted(self) -> None:
        """Nothing is sent once the connection is aborted, as by Twisted's transports.

        A client that sends a file descriptor with a request receives no response.
        """
        self.transport.abortConnection()
        self.transport.write(b"abc")
        self.transport.writeSequence([b"abc"])
        with self.assertRaises(BlockingIOError):
            self.client.recv(10)

    def test_class(self) -> None:
        """The fast path can be switched off."""
        self.patch(fast_paths, "enabled", {FastPath.WRITES})
        self.assertIs(transport_class(), PromptTransport)
        self.patch(fast_paths, "enabled", set())
        self.assertIs(transport_class(), FileTransport)
