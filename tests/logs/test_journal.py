"""Tests of `devlxd.logs.journal`."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import tempfile

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from devlxd.logs.journal import (
    MAX_DATAGRAM,
    JournalObserver,
    JournalSocket,
    encoded,
    has_journal,
)
from tests.logs.events import ESCAPED, HOSTILE, failure, refusal

#: Any fields of an event.
FIELDS = st.dictionaries(st.text(max_size=10), st.text() | st.integers() | st.floats())


def decoded(datagram: bytes) -> dict[str, str]:
    """Return the fields of a datagram, as journald reads them."""
    fields: dict[str, str] = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", rest[:8])
            value, datagram = rest[8 : 8 + size], rest[9 + size :]
            assert rest[8 + size : 9 + size] == b"\n"
        else:
            datagram = rest
        assert name.decode() not in fields, name
        fields[name.decode()] = value.decode("utf-8")
    return fields


class JournalTests(SynchronousTestCase):
    """The log in the journal of systemd."""

    def setUp(self) -> None:
        self.sent: list[bytes] = []
        self.observer = JournalObserver(self.sent.append)

    def test_fields(self) -> None:
        """An event has a priority, and its name and container as fields."""
        self.assertTrue(verifyObject(ILogObserver, self.observer))
        self.observer(refusal(container="c1", pid=7, reason=HOSTILE))
        self.assertEqual(
            [*map(decoded, self.sent)],
            [
                {
                    "MESSAGE": f"not in a container: {ESCAPED}",
                    "PRIORITY": "4",
                    "SYSLOG_IDENTIFIER": "devlxd",
                    "DEVLXD_LOGGER": "devlxd.peers.admission",
                    "DEVLXD_EVENT": "caller-refused",
                    "DEVLXD_CONTAINER": "c1",
                    "DEVLXD_PID": "7",
                    "DEVLXD_REASON": ESCAPED,
                }
            ],
        )

    def test_failure(self) -> None:
        """A failure is critical; its message has the traceback and its code's place."""
        self.observer(failure("boom"))
        fields = decoded(self.sent[0])
        self.assertEqual(fields["PRIORITY"], "2")
        message, *lines = fields["MESSAGE"].split("\n")
        self.assertTrue(message.startswith("a turn of c1 failed"))
        self.assertIn("builtins.ZeroDivisionError: boom", lines)
        self.assertEqual(fields["CODE_FUNC"], "failure")
        self.assertTrue(fields["CODE_LINE"].isdigit())

    @given(
        st.dictionaries(st.text(max_size=10), st.text() | st.integers() | st.floats())
    )
    def test_any_fields(self, fields: dict[str, object]) -> None:
        """Whatever the fields are, journald reads one record with one message."""
        sent: list[bytes] = []
        JournalObserver(sent.append)(refusal(**{**fields, "reason": "PRIORITY=0"}))
        record = decoded(sent[0])
        self.assertEqual(record["PRIORITY"], "4")
        self.assertTrue(all(value.isprintable() for value in record.values()))

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_encoding(self, value: str) -> None:
        """Any value arrives as it was, in the text form or in the binary form."""
        self.assertEqual(decoded(encoded("A_B", value)), {"A_B": value})

    def test_large(self) -> None:
        """A datagram is never longer than the kernel accepts; fields are left out."""
        many = {f"f{n}": "\U0010ffff" * 1000 for n in range(50)}
        self.observer(refusal(**many))
        self.observer(failure("\n".join("\u4e00" * 10_000 for _ in range(1000))))
        for datagram in self.sent:
            self.assertLess(len(datagram), MAX_DATAGRAM)
            self.assertIn("MESSAGE", decoded(datagram))

    def test_dropped(self) -> None:
        """Events that journald does not take are dropped, and counted."""
        is_full = True

        def send(datagram: bytes) -> None:
            if is_full:
                raise BlockingIOError
            self.sent.append(datagram)

        observer = JournalObserver(send)
        observer(refusal())
        observer(refusal())
        is_full = False
        observer(refusal())
        observer(refusal())
        self.assertEqual(
            [decoded(datagram)["MESSAGE"] for datagram in self.sent],
            ["2 log lines were dropped"] + ["not in a container: r"] * 2,
        )

    def test_signal_handler(self) -> None:
        """A signal handler may log while an event is being sent."""
        sent: list[bytes] = []

        def send(datagram: bytes) -> None:
            sent.append(datagram)
            if len(sent) == 1:
                observer(refusal(reason="in a signal handler"))

        observer = JournalObserver(send)
        observer(refusal(reason="a"))
        self.assertEqual(len(sent), 2)

    def test_for_people(self) -> None:
        """The lines of the startup checks are left out: an event has them as fields."""
        event = refusal()
        event["log_format"] = "{check}: {result}: {detail}"
        self.observer(event)
        self.assertEqual(self.sent, [])


class SocketTests(SynchronousTestCase):
    """Sending to the socket of a journald."""

    def setUp(self) -> None:
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        self.path = f"{directory}/socket"

    def listen(self) -> socket.socket:
        """Listen as journald does."""
        journald = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(journald.close)
        journald.bind(self.path)
        return journald

    def test_restart(self) -> None:
        """A new journald receives what comes after its start."""
        self.assertFalse(has_journal(self.path))
        first = self.listen()
        self.assertTrue(has_journal(self.path))
        send = JournalSocket(self.path)
        self.addCleanup(send.close)
        send(b"A=1\n")
        self.assertEqual(first.recv(10), b"A=1\n")
        first.close()
        os.unlink(self.path)
        self.assertRaises(OSError, send, b"A=2\n")
        second = self.listen()
        send(b"A=3\n")
        self.assertEqual(second.recv(10), b"A=3\n")

    def test_never_blocks(self) -> None:
        """When the queue of journald is full, sending fails at once."""
        self.listen()
        send = JournalSocket(self.path)
        self.addCleanup(send.close)
        with self.assertRaises(OSError):
            while True:
                send(b"A=1\n")

    def test_no_socket(self) -> None:
        """A file of another kind is not a journal."""
        with open(self.path, "w"):
            pass
        self.assertFalse(has_journal(self.path))
