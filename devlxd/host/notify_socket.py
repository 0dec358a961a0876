# -*- test-case-name: tests.host.test_notifier -*-
"""The socket of the service manager: datagrams to ``$NOTIFY_SOCKET``.

``sd_notify(3)`` describes the protocol. This needs no library: a datagram consists
of lines ``NAME=VALUE``, and may carry file descriptors.
"""

from __future__ import annotations

import array
import os
import select
import socket
from collections.abc import Sequence


class NotifySocket:
    """A socket to the service manager; its methods never raise an `OSError`.

    :param address: the value of ``$NOTIFY_SOCKET``: the path of a UNIX socket, or
        ``@`` and the name of an abstract one.
    """

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def send(
        self, *lines: str, descriptors: Sequence[int] = (), timeout: float = 0
    ) -> bool:
        """Send one datagram.

        :param descriptors: copies of them go to the manager.
        :param timeout: how many seconds to wait if the manager's queue is full.
        :return: whether it was sent.
        """
        data = "\n".join(lines).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self._socket.settimeout(timeout)
        try:
            self._socket.sendmsg(
                [data], rights if descriptors else [], 0, self._address
            )
        except OSError:
            return False
        return True

    def barrier(self, timeout: float) -> bool:
        """Wait until the manager has read all datagrams that were sent before.

        :param timeout: how many seconds to wait at most.
        :return: whether it has read them.
        """
        reading, writing = os.pipe()
        try:
            # The manager closes its copy, the only one, when it has come this far.
            sent = self.send("BARRIER=1", descriptors=[writing], timeout=timeout)
            os.close(writing)
            poll = select.poll()
            poll.register(reading, 0)
            return sent and bool(poll.poll(timeout * 1000))
        finally:
            os.close(reading)
