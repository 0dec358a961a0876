"""Tests of the events of the synchronous guest."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from datetime import datetime

from devlxd.client import (
    Event,
    Forbidden,
    Lost,
    NotSupported,
    ProtocolError,
    Unavailable,
    sync_events,
)
from tests.client.scripted_server import (
    PLAIN_STREAM,
    Peer,
    ScriptedTestCase,
    interrupt,
    responding,
    sending,
)

#: The head of an event stream as devlxd sends it.
DEVLXD_STREAM = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    b"X-Devlxd-Timestamp: 2026-01-01T00:00:00Z\r\n\r\n"
)


def line(n: int) -> bytes:
    """Return the n-th event as a line."""
    return event(n).to_json().encode() + b"\n"


def chunk(data: bytes) -> bytes:
    """Return data as a chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(n: int) -> Event:
    """Return the n-th event."""
    return Event(
        "config", f"2026-01-01T00:00:0{n}Z", {"key": "user.a", "value": f"{n}"}
    )


class EventTestCase(ScriptedTestCase):
    """A base class of tests of events, without pauses between connections."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(sync_events, "pauses", lambda: iter([0.0] * 100))


class StreamTests(EventTestCase):
    """``events`` reads what each server sends."""

    def test_plain(self) -> None:
        """LXD and Incus send lines until the connection is closed."""
        guest = self.guest(sending(PLAIN_STREAM, line(1)[:9], line(1)[9:] + line(2)))
        with guest.events() as events:
            self.assertEqual([next(events), next(events)], [event(1), event(2)])

    def test_chunked(self) -> None:
        """devlxd sends chunks, which need not be lines."""
        text = line(1) + b"\n" + line(2)
        guest = self.guest(sending(DEVLXD_STREAM, chunk(text[:90]), chunk(text[90:])))
        with guest.events() as events:
            self.assertEqual([next(events), next(events)], [event(1), event(2)])

    def test_arguments(self) -> None:
        """The types and ``since`` are sent to the server."""
        guest = self.guest(sending(PLAIN_STREAM, line(1)))
        with guest.events(["config"], since="2026") as events:
            self.assertIsInstance(next(events), Lost)
        self.assertEqual(
            self.server.requests, [b"GET /1.0/events?type=config&since=2026"]
        )

    def test_wrong_type(self) -> None:
        """A type that does not exist is an error at once."""
        self.assertRaises(ValueError, self.guest().events, ["wrong"])

    def test_too_long(self) -> None:
        """An event above the limit is a `ProtocolError`, and ends the iterator."""
        self.patch(sync_events, "MAX_EVENT", len(line(1)))
        for head, frame in ((PLAIN_STREAM, bytes), (DEVLXD_STREAM, chunk)):
            guest = self.guest(sending(head, frame(line(1)), frame(b" " + line(2))))
            events = guest.events()
            self.assertEqual(next(events), event(1))
            self.assertRaises(ProtocolError, next, events)
            self.assertEqual(list(events), [])


class ReconnectionTests(EventTestCase):
    """``events`` connects again by itself."""

    def test_since(self) -> None:
        """With devlxd, the next connection continues after the last event."""
        guest = self.guest(
            sending(DEVLXD_STREAM, chunk(line(1))),
            sending(DEVLXD_STREAM, chunk(line(2))),
        )
        with guest.events() as events:
            self.assertEqual([next(events), next(events)], [event(1), event(2)])
        self.assertEqual(
            self.server.requests,
            [b"GET /1.0/events", b"GET /1.0/events?since=2026-01-01T00%3A00%3A01Z"],
        )

    def test_lost(self) -> None:
        """With LXD and Incus, events are lost; an incomplete one is among them."""
        guest = self.guest(
            sending(PLAIN_STREAM, line(1), line(2)[:-1]),
            sending(PLAIN_STREAM, line(3)),
        )
        with guest.events() as events:
            first, lost, last = next(events), next(events), next(events)
        self.assertEqual([first, last], [event(1), event(3)])
        self.assertIsInstance(lost, Lost)
        written = datetime.fromisoformat(lost.timestamp.replace("Z", "+00:00"))
        self.assertIsNotNone(written.tzinfo)

    def test_unavailable(self) -> None:
        """Once it was connected, a server that fails is tried again."""
        guest = self.guest(
            sending(PLAIN_STREAM, line(1)),
            responding((b"not now", 503)),
            sending(b""),
            sending(PLAIN_STREAM, line(2)),
        )
        with guest.events() as events:
            self.assertEqual(next(events), event(1))
            self.assertIsInstance(next(events), Lost)
            self.assertEqual(next(events), event(2))

    def test_first(self) -> None:
        """If the first connection fails, so does the iterator."""
        for status, kind in {
            403: Forbidden,
            404: NotSupported,
            500: Unavailable,
        }.items():
            events = self.guest(responding((b"the text", status))).events()
            error = self.assertRaises(kind, next, events)
            self.assertIn("the text", str(error))
            self.assertEqual(list(events), [])

    def test_refused_later(self) -> None:
        """A server that refuses later is not asked again."""
        for status, kind in {
            401: Forbidden,
            404: NotSupported,
            302: ProtocolError,
        }.items():
            events = self.guest(
                sending(PLAIN_STREAM, line(1)), responding((b"", status))
            ).events()
            self.assertEqual(next(events), event(1))
            self.assertRaises(kind, next, events)


class CloseTests(EventTestCase):
    """An iterator can be closed at any time."""

    def setUp(self) -> None:
        super().setUp()
        self.gone = threading.Event()

    def silent(self, peer: Peer) -> None:
        """Send an event, and wait until the client closes the connection."""
        peer.request()
        peer.send(PLAIN_STREAM + line(1))
        if peer.is_closed():
            self.gone.set()

    def test_unused(self) -> None:
        """An iterator that was never used has nothing to close."""
        events = self.guest().events()
        events.close()
        events.close()
        self.assertEqual(list(events), [])

    def test_between(self) -> None:
        """Closing closes the connection; the iterator has ended."""
        events = self.guest(self.silent).events()
        self.assertEqual(next(events), event(1))
        events.close()
        self.gone.wait()
        self.assertEqual(list(events), [])

    def test_collected(self) -> None:
        """An iterator that is no longer used closes its connection at once."""
        gc.disable()
        self.addCleanup(gc.enable)
        for received in self.guest(self.silent).events():
            self.assertEqual(received, event(1))
            break
        self.assertTrue(self.gone.wait(10))

    def test_other_thread(self) -> None:
        """Another thread may close it while the next event is waited for."""
        guest = self.guest(self.silent)
        events = guest.events()
        received: list[Event] = []
        began = threading.Event()

        def listen() -> None:
            for one in events:
                received.append(one)
                began.set()

        thread = threading.Thread(target=listen)
        thread.start()
        began.wait()
        events.close()
        thread.join()
        self.gone.wait()
        self.assertEqual(received, [event(1)])

    def test_signal(self) -> None:
        """A signal handler may close it, and the loop ends."""
        main = threading.get_ident()

        def signalling(peer: Peer) -> None:
            peer.request()
            peer.send(PLAIN_STREAM)
            peer.signal_until_closed(main)
            self.gone.set()

        events = self.guest(signalling).events()
        self.handle_signal(events.close)
        self.assertEqual(list(events), [])
        self.gone.wait()

    def test_interrupt(self) -> None:
        """What a signal handler raises passes, and closes the connection."""
        main = threading.get_ident()

        def signalling(peer: Peer) -> None:
            peer.request()
            peer.send(PLAIN_STREAM)
            peer.signal_until_closed(main)
            self.gone.set()

        self.handle_signal(interrupt)
        self.assertRaises(KeyboardInterrupt, next, self.guest(signalling).events())
        self.gone.wait()

    def test_pause(self) -> None:
        """It can be closed during the pause before a new connection."""
        events = self.guest(sending(PLAIN_STREAM, line(1))).events()

        def pauses() -> Iterator[float]:
            while True:
                threading.Thread(target=events.close).start()
                yield 3600.0

        self.patch(sync_events, "pauses", pauses)
        self.assertEqual(list(events), [event(1)])
