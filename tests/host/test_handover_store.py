"""Tests of `devlxd.host.handover_store` and `devlxd.host.handover_record`."""

from __future__ import annotations

import array
import errno
import hashlib
import os
import resource
import socket
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from devlxd.host import handover_record
from devlxd.host.handover_record import RecordError, read_record, write_record
from devlxd.host.handover_store import SystemdHandoverStore
from devlxd.host.notify_socket import NotifySocket
from devlxd.interfaces import IHandoverStore
from devlxd.model import HandedOver
from devlxd.testing import MemoryHandoverStore
from devlxd.testing.contracts import HandoverStoreContract
from tests.host.managers import FakeSystemd


class MemoryHandoverStoreTests(HandoverStoreContract, SynchronousTestCase):
    """The store for tests."""

    def make_store(self) -> IHandoverStore:
        """See `HandoverStoreContract.make_store`."""
        return MemoryHandoverStore()

    def next_store(self, store: IHandoverStore) -> IHandoverStore:
        """See `HandoverStoreContract.next_store`: it is the same one."""
        return store

    def test_keeps_nothing(self) -> None:
        """A store that keeps nothing says so."""
        self.connection({})
        store = MemoryHandoverStore(keeps=False)
        self.assertFalse(self.save(store))
        self.assertEqual(list(store.take()), [])


class SystemdHandoverStoreTests(HandoverStoreContract, SynchronousTestCase):
    """The store of systemd."""

    def setUp(self) -> None:
        super().setUp()
        self.systemd = FakeSystemd(self)

    def make_store(self, *stored: int) -> SystemdHandoverStore:
        """See `HandoverStoreContract.make_store`."""
        return SystemdHandoverStore(NotifySocket(self.systemd.address), stored)

    def next_store(self, store: IHandoverStore) -> IHandoverStore:
        """See `HandoverStoreContract.next_store`."""
        self.systemd.read()
        return self.make_store(*self.systemd.inherited())

    def take_with_error(self, text: str) -> None:
        """Check that the next process takes nothing, and logs one line."""
        with capturedLogs() as events:
            self.assertEqual(list(self.next_store(self.make_store()).take()), [])
        (event,) = events
        self.assertIn(text, formatEvent(event))
        self.systemd.read()
        self.assertEqual(self.systemd.stored, [])

    def entry(self, *descriptors: int) -> None:
        """Store an entry with these descriptors."""
        writing, reading = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with writing:
            rights = array.array("i", descriptors)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            writing.sendmsg([b"+"], ancillary if descriptors else [])
        self.systemd.stored.append(("devlxd-connections", reading.detach()))

    def test_one_entry(self) -> None:
        """All connections are one entry, which is removed when it is taken."""
        for _ in range(600):
            self.connection({})
        self.save(self.make_store())
        self.systemd.read()
        self.assertEqual(len(self.systemd.stored), 1)
        self.assertEqual(
            self.systemd.lines,
            ["FDSTORE=1", "FDNAME=devlxd-connections", "FDPOLL=0"] + 2 * ["BARRIER=1"],
        )
        after = self.next_store(self.make_store())
        self.assertEqual(len(self.take(after)), 600)
        self.systemd.read()
        self.assertEqual(self.systemd.stored, [])

    def test_no_store(self) -> None:
        """Without ``FileDescriptorStoreMax=``, nothing is saved, in one line."""
        self.systemd.keeps = False
        peer = self.connection({})
        with capturedLogs() as events:
            self.assertFalse(self.make_store().save(self.connections))
        (event,) = events
        self.assertIn("set FileDescriptorStoreMax=", formatEvent(event))
        # The caller still has the connection.
        os.write(self.connections[0].descriptor, b"x")
        self.assertEqual(peer.recv(1), b"x")
        os.close(self.connections[0].descriptor)

    def test_no_manager(self) -> None:
        """Nothing is saved if systemd does not listen."""
        self.connection({})
        self.systemd.close()
        with capturedLogs():
            self.assertFalse(self.save(self.make_store()))

    def test_bad_descriptor(self) -> None:
        """If a connection cannot be sent, nothing is saved, in one line."""
        self.connections.append(HandedOver(1_000_000, {}))
        with capturedLogs() as events:
            self.assertFalse(self.make_store().save(self.connections))
        (event,) = events
        self.assertIn(os.strerror(errno.EBADF), formatEvent(event))
        self.assertEqual(self.systemd.read(), [])

    def test_unreadable_record(self) -> None:
        """Connections are closed when their record cannot be read.

        Their peers notice it, although systemd may still have a copy.
        """
        peer, ours = socket.socketpair()
        self.addCleanup(peer.close)
        self.addCleanup(ours.close)
        peer.settimeout(5)
        with open(self.mktemp(), "w+b") as file:
            file.write(b"something else")
            file.flush()
            self.entry(file.fileno(), ours.fileno())
        self.take_with_error("1 connections of the last process are closed")
        self.assertEqual(peer.recv(1), b"")

    def test_no_record(self) -> None:
        """An entry with nothing in it is no error of the next process."""
        self.entry()
        self.take_with_error("0 connections of the last process")

    def test_other_entry(self) -> None:
        """An entry that is not a socket is no error of the next process."""
        descriptor = os.open("/dev/null", os.O_RDONLY)
        self.systemd.stored.append(("devlxd-connections", descriptor))
        self.take_with_error(os.strerror(errno.ENOTSOCK))

    def test_several_entries(self) -> None:
        """The connections of several entries are taken.

        A process that ended while it started leaves those of the process before.
        """
        self.connection({"a": 1})
        self.save(self.make_store())
        self.connections = []
        self.connection({"b": 2})
        self.save(self.make_store())
        taken = self.take(self.next_store(self.make_store()))
        self.assertEqual([dict(each.record) for each in taken], [{"a": 1}, {"b": 2}])

    def test_too_many_open_files(self) -> None:
        """Connections over the limit of open files are closed, in one line."""
        peers = [self.connection({"n": number}) for number in range(40)]
        self.save(self.make_store())
        store = self.next_store(self.make_store())
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = set(map(int, os.listdir("/proc/self/fd")))
        # Ten numbers below the limit are free.
        limit = [number for number in range(len(used) + 10) if number not in used]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit[9] + 1, hard))
        try:
            with capturedLogs() as events:
                taken = self.take(store)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertLess(len(taken), 11)
        self.assertEqual([each.record["n"] for each in taken], [*range(len(taken))])
        (event,) = events
        self.assertIn("too many open files", formatEvent(event))
        self.systemd.read()
        for peer in peers[len(taken) :]:
            self.assertEqual(peer.recv(1), b"")


class RecordTests(SynchronousTestCase):
    """The record of handed-over connections."""

    def read(self, data: bytes) -> object:
        """Return what a file with ``data`` contains."""
        with open(self.mktemp(), "w+b") as file:
            file.write(data)
            file.flush()
            return read_record(file.fileno())

    def write(self, records: list[Any]) -> bytes:
        """Return the bytes of a record."""
        descriptor = write_record(records)
        with open(descriptor, "rb") as file:
            file.seek(0)
            return file.read()

    def test_round_trip(self) -> None:
        """A record contains what was written."""
        for records in ([], [{"a": "\ud800\u00e9", "b": [None, 1.5, {"c": False}]}]):
            self.assertEqual(self.read(self.write(records)), records)

    def test_unreadable(self) -> None:
        """Any damage, and any other version, is an error with a reason."""
        good = self.write([{"a": 1}])
        self.assertTrue(good.startswith(b"devlxd-handover 1 9 "))
        for bad, reason in [
            (b"", "no header"),
            (good.replace(b"devlxd", b"devlxc"), "no header"),
            (good.replace(b"\n", b" "), "no header"),
            (good.replace(b" 1 ", b" 2 "), "another version"),
            (good.replace(b" 9 ", b" x "), "wrong length"),
            (good[:-1], "wrong length"),
            (good + b" ", "wrong length"),
            (good.replace(b"}]", b"]}"), "wrong checksum"),
            (self.write([])[:-2] + b"{}", "wrong checksum"),
        ]:
            error = self.assertRaises(RecordError, self.read, bad)
            self.assertIn(reason, str(error))

    def test_not_json(self) -> None:
        """A record that is not JSON is an error, even with the right checksum."""
        for body in (b"", b"[", b"\xff", b"[" * 100_000):
            head = f"devlxd-handover 1 {len(body)} {hashlib.sha256(body).hexdigest()}"
            data = head.encode() + b"\n" + body
            error = self.assertRaises(RecordError, self.read, data)
            self.assertIn("not JSON", str(error))

    def test_too_large(self) -> None:
        """A record that is too large is not written."""
        self.patch(handover_record, "MAX_BYTES", 5)
        self.assertRaises(RecordError, write_record, [{"a": 1}])
