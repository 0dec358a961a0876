# -*- test-case-name: tests.httpserver.test_prompt_transport -*-
"""The transport of an accepted connection, which sends data when it is written."""

from __future__ import annotations

from collections.abc import Iterable

from devlxd.fast_paths import FastPath, is_on
from devlxd.httpserver.file_transport import FileTransport

#: How much is sent at once, in bytes, before something has to wait for the reactor.
#: Otherwise a client that reads as fast as a long response is written would keep the
#: reactor from all others.
MOST_AT_ONCE = 64 * 1024


class PromptTransport(FileTransport):
    """A transport that sends data when it is written, if nothing else is queued.

    Twisted's own transports send in the next iteration of the reactor, with four system
    calls instead of one.
    """

    # How much was sent at once since the reactor has sent something.
    _sent_at_once = 0

    def write(self, data: bytes) -> None:
        """See `ITransport.write`."""
        is_allowed = self._sent_at_once < MOST_AT_ONCE
        if is_allowed and self.connected and not self.is_queued:
            sent = self._send(data)
            self._sent_at_once += sent
            data = data[sent:]
        if data:
            super().write(data)

    def doWrite(  # type: ignore[override] # Twisted's own returns errors, too
        self,
    ) -> BaseException | int | None:
        """See `IWriteDescriptor.doWrite`."""
        self._sent_at_once = 0
        return super().doWrite()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See `ITransport.writeSequence`."""
        self.write(b"".join(iovec))

    def abortConnection(self) -> None:
        """See `ITransport.abortConnection`: nothing is sent from now on."""
        vars(self)["write"] = _discard
        super().abortConnection()

    def _send(self, data: bytes) -> int:
        """Send what the socket takes; return how much that was, in bytes.

        An error is not handled here, but when Twisted sends the data again: the
        protocol does not expect to lose its connection while it writes.
        """
        try:
            return self.socket.send(data)
        except OSError:
            return 0


def _discard(data: bytes) -> None:
    """Discard what is written to a connection that is aborted."""


def transport_class() -> type[FileTransport]:
    """Return the class of the transports of new connections."""
    return PromptTransport if is_on(FastPath.WRITES) else FileTransport
