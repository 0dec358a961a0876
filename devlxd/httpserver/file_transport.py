# -*- test-case-name: tests.httpserver.test_file_transport -*-
"""The transport of an accepted connection, which sends files by ``sendfile(2)``."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from devlxd.httpserver.twisted_private_apis import TransportBase
from devlxd.model import FileRange

#: How much of a file is sent at a time, in bytes, before the reactor continues.
TURN = 1024 * 1024

#: The value of ``SO_SNDBUF`` for connections that files are sent on, in bytes. Linux
#: doubles it, or sets less (``net.core.wmem_max``). Less is slower: the client has read
#: everything before the reactor has noticed that there is room.
SEND_BUFFER = 512 * 1024

#: How much may be sent that the client has not read, in bytes. While some of the buffer
#: is left, the kernel adds one more packet, of up to 64 KiB.
MOST_UNREAD = 2 * SEND_BUFFER + 128 * 1024

#: The errors of a connection that the client has closed.
_CLOSED = (errno.EPIPE, errno.ECONNRESET)


@define(eq=False)
class _Sending:
    """A file that is being sent.

    :ivar may_continue: called whenever there is room; returns whether to send more.
    :ivar ended: fires with ``sent`` at the end.
    :ivar sent: how much has been sent, in bytes.
    """

    data: FileRange
    may_continue: Callable[[], bool]
    ended: Deferred[int] = field(factory=Deferred)
    sent: int = 0

    @property
    def left(self) -> int:
        """How much has not been sent yet, in bytes."""
        return self.data.size - self.sent


class FileTransport(TransportBase):
    """A transport that can also send the data of files, without copying it."""

    _sending: _Sending | None = None
    _usual_buffer: int | None = None

    @property
    def is_queued(self) -> bool:
        """See `TransportBase.is_queued`; a file counts, too."""
        return self._sending is not None or super().is_queued

    def send_file(
        self, data: FileRange, may_continue: Callable[[], bool]
    ) -> Deferred[int]:
        """Send from a file after what is queued; see `IFileSink.send`.

        The reactor sends at most `TURN` bytes at a time, when the client has read so
        much that there is room.

        :param may_continue: called each time; returns ``False`` to send no more.
        """
        if not self.connected:
            return succeed(0)
        self._enlarge_buffer()
        self._sending = sending = _Sending(data, may_continue)
        self.startWriting()
        return sending.ended

    def _enlarge_buffer(self) -> None:
        if self._usual_buffer is None:
            option = (socket.SOL_SOCKET, socket.SO_SNDBUF)
            self._usual_buffer = self.socket.getsockopt(*option)
            self.socket.setsockopt(*option, SEND_BUFFER)

    def restore_buffer(self) -> None:
        """Set the usual ``SO_SNDBUF``; call this before data is written again.

        Written data is memory of devlxd, while files are in the page cache anyway. A
        larger buffer than for files is not set: it could hold more than `MOST_UNREAD`.
        """
        if self._usual_buffer is not None and self.connected:
            # The value that Linux returns is the doubled one.
            size = min(self._usual_buffer // 2, SEND_BUFFER)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            self._usual_buffer = None

    def doWrite(  # type: ignore[override] # Twisted's own returns errors, too
        self,
    ) -> BaseException | int | None:
        """See `IWriteDescriptor.doWrite`."""
        if self._sending is not None and not super().is_queued:
            return self._send_some(self._sending)
        result: BaseException | int | None = super().doWrite()
        if self._sending is not None:
            self.startWriting()
        return result

    def _send_some(self, sending: _Sending) -> BaseException | None:
        """Send from a file in one turn, and end if that was all of it.

        If nothing is written at its end, the next call of `doWrite` stops writing.
        """
        if not sending.may_continue():
            self._end()
            return None
        data, size = sending.data, min(sending.left, TURN)
        start = data.start + sending.sent
        try:
            sent = os.sendfile(self.fileno(), data.descriptor, start, size)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _CLOSED:
                return ConnectionLost()
            sent = 0
        sending.sent += sent
        if not sent or not sending.left:
            self._end()
        return None

    def _end(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.ended.callback(sending.sent)

    def connectionLost(self, reason: Failure) -> None:
        """See `FileDescriptor.connectionLost`."""
        super().connectionLost(reason)
        self._end()
