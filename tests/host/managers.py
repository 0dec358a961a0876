"""A service manager for tests: the other end of ``$NOTIFY_SOCKET``."""

from __future__ import annotations

import array
import os
import select
import socket
import tempfile
import threading

from twisted.trial.unittest import SynchronousTestCase


class FakeSystemd:
    """A manager that records datagrams, and has a store of descriptors.

    It reads in a thread, as a process waits for it to pass a barrier.

    :ivar address: the value of ``$NOTIFY_SOCKET``.
    :ivar lines: the lines of all datagrams.
    :ivar stored: the descriptors in the store, and their names.
    :param keeps: whether the store keeps anything.
    """

    def __init__(self, test: SynchronousTestCase, keeps: bool = True) -> None:
        directory = tempfile.TemporaryDirectory()
        test.addCleanup(directory.cleanup)
        self.address = os.path.join(directory.name, "notify")
        self.lines: list[str] = []
        self.stored: list[tuple[str, int]] = []
        self.keeps = keeps
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        test.addCleanup(self.close)

    def close(self) -> None:
        """Stop listening; close what is stored."""
        if self._thread.is_alive():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stopping:
                stopping.sendto(b"stop", self.address)
            self._thread.join()
            self._socket.close()
            for _name, descriptor in self.stored:
                os.close(descriptor)

    def read(self) -> list[str]:
        """Return the lines so far, when all datagrams are read."""
        reading, writing = os.pipe()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.connect(self.address)
            socket.send_fds(sending, [b"BARRIER=1"], [writing])
        os.close(writing)
        select.select([reading], [], [], 30)
        os.close(reading)
        return [line for line in self.lines if line != "BARRIER=1"]

    def _run(self) -> None:
        while True:
            data, ancillary, _flags, _address = self._socket.recvmsg(4096, 1024)
            if data == b"stop":
                return
            lines = data.decode().splitlines()
            self.lines += lines
            descriptors = array.array("i")
            for _level, _kind, rights in ancillary:
                descriptors.frombytes(rights)
            fields = dict(line.split("=", 1) for line in lines)
            if "FDSTOREREMOVE" in fields:
                for entry in [e for e in self.stored if e[0] == fields["FDNAME"]]:
                    self.stored.remove(entry)
                    os.close(entry[1])
            if "FDSTORE" in fields and self.keeps:
                self.stored += [(fields["FDNAME"], fd) for fd in descriptors]
            else:
                for descriptor in descriptors:
                    os.close(descriptor)

    def inherited(self) -> list[int]:
        """Return copies of the stored descriptors, as the next process gets them."""
        return [os.dup(descriptor) for _name, descriptor in self.stored]
