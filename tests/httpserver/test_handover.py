"""Tests of `devlxd.httpserver.handover` and of the channels that are handed over."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast
from unittest import mock

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from devlxd.containers.memory_store import MemoryStore
from devlxd.host import accepting
from devlxd.httpserver import handover
from devlxd.httpserver.connection_state import MAX_UNSENT
from devlxd.httpserver.framing import SLICE
from devlxd.httpserver.handover_channel import HandoverChannel
from devlxd.httpserver.websocket import PING_INTERVAL
from devlxd.model import Container, HandedOver, JSONValue
from devlxd.testing import GUEST, MemoryIdentifier, MemoryPeerSource
from devlxd.timestamps import timestamp_text
from tests.default_limits import IDLE_TIMEOUT, REQUEST_TIMEOUT, limits
from tests.guestapi.test_event_streams import (
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    chunks,
    frame,
    frames,
)
from tests.handovers import C1, CALLER, START, Client, HandoverTestCase, without_date

GET = b"GET /1.0/config/user.a HTTP/1.1\r\nHost: x\r\n\r\n"

POST = b"POST /1.0 HTTP/1.1\r\nHost: x\r\n"

#: Requests that are sent one after the other, and what they show.
REQUESTS = (
    GET,
    b"\r\n" + GET,
    b"\r\n\r\n" + GET,
    GET.replace(b"GET", b"HEAD"),
    POST + b"Content-Length: 5\r\n\r\nabcde",
    POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde",
    POST
    + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
    POST + b"Content-Length: 20000\r\n\r\n",
    GET.replace(b"/1.0/", b"/2.0/"),
    GET.replace(b"\r\n", b"\n"),
    GET.replace(b"1.1", b"1.0"),
    GET.replace(b"Host: x", b"Host: x\r\nConnection: close"),
    b"nonsense\r\n\r\n",
)


class RequestTests(HandoverTestCase):
    """Connections that carry no stream."""

    def test_idle(self) -> None:
        """An idle connection is continued; its client notices nothing."""
        client = self.connect()
        self.assertTrue(self.get(client).endswith(b"\r\n\r\n0"))
        self.assertEqual(len(self.restart()), 1)
        self.assertTrue(self.get(client).endswith(b"\r\n\r\n0"))
        self.assertFalse(client.is_closed)

    def test_idle_timeout(self) -> None:
        """After a restart an idle connection may be idle for the usual time again."""
        client = self.connect()
        self.get(client)
        self.restart()
        self.reactor.advance(IDLE_TIMEOUT - 1)
        self.assertTrue(self.get(client).endswith(b"\r\n\r\n0"))
        self.restart()
        self.reactor.advance(IDLE_TIMEOUT)
        self.ask(client)
        self.assertTrue(client.is_closed)

    def test_request_timeout(self) -> None:
        """After a restart the time for a request begins anew."""
        client = self.connect()
        self.ask(client, GET[:20])
        self.restart()
        self.reactor.advance(REQUEST_TIMEOUT)
        self.ask(client)
        self.assertTrue(client.is_closed)

    def test_nothing_asked(self) -> None:
        """A connection that was accepted but not used is continued."""
        client = self.connect()
        self.reactor.run_until_idle()
        self.restart()
        self.assertTrue(self.get(client).endswith(b"\r\n\r\n0"))

    def test_not_accepted(self) -> None:
        """A connection that was not accepted yet is accepted by the next process."""
        client = self.connect()
        self.assertEqual(self.restart(), [])
        self.assertTrue(self.get(client).endswith(b"\r\n\r\n0"))

    def test_not_admitted(self) -> None:
        """Connections that wait for their turns are admitted by the next process."""
        # However slow this machine is, all are accepted at once.
        self.patch(accepting, "SLICE", 3600)
        clients = [self.connect() for _ in range(20)]
        for reader in self.reactor.getReaders():
            reader.doRead()
        self.assertLess(self.service_connections(), 20)
        self.assertEqual(len(self.restart()), 20)
        for client in clients:
            self.assertTrue(self.get(client).endswith(b"\r\n\r\n0"))

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4), st.data())
    def test_any_byte(self, requests: list[bytes], draw: st.DataObject) -> None:
        """A hand-over at any byte of requests changes no byte of the responses."""
        data = b"".join(requests)
        cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=3).map(sorted))
        pieces = [
            data[start:end]
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)
        ]
        expected = self.exchange(pieces, is_restarted=False)
        self.assertEqual(self.exchange(pieces, is_restarted=True), expected)

    def exchange(self, pieces: list[bytes], is_restarted: bool) -> tuple[bytes, bool]:
        """Send pieces, with restarts between them.

        :return: what is received, and whether the connection is closed then.
        """
        client, received = self.connect(), b""
        for number, piece in enumerate(pieces):
            if is_restarted and number:
                self.restart()
            if not client.is_closed:
                received += self.ask(client, piece)
        client.socket.close()
        self.reactor.run_until_idle()
        return without_date(received), client.is_closed

    def test_every_byte(self) -> None:
        """A hand-over at each byte of a request with all features is not noticed."""
        data = (
            b"\r\n" + POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"
        )
        data += b"\r\n1;a=b\r\na\r\n0\r\nX: y\r\n\r\n" + GET
        expected = self.exchange([data], is_restarted=False)
        for cut in range(len(data) + 1):
            pieces = [data[:cut], data[cut:]]
            self.assertEqual(self.exchange(pieces, is_restarted=True), expected, cut)

    def test_half_closed(self) -> None:
        """A client that has half closed its connection receives its responses."""
        client = self.connect()
        self.ask(client, GET[:20])
        client.socket.sendall(GET[20:] + GET)
        client.socket.shutdown(socket.SHUT_WR)
        self.restart()
        received = self.ask(client)
        self.assertEqual(received.count(b"HTTP/1.1 200 OK"), 2)
        self.assertTrue(client.is_closed)

    def test_closed_by_client(self) -> None:
        """A connection that its client closes during the restart is closed."""
        client = self.connect()
        self.get(client)
        self.restart(client.socket.close)
        self.assertEqual(self.service_connections(), 0)

    def test_unsent(self) -> None:
        """What the client has not read before a restart, it reads after it."""
        self.put("x" * 30_000)
        client = self.connect()
        expected = without_date(self.get(client))
        client.socket.sendall(GET * 20)
        self.reactor.run_until_idle()
        for _ in range(2):
            (connection,) = self.restart()
            self.assertIn("unsent", connection.record)
            self.assertIn("received", connection.record)
        received = without_date(self.ask(client))
        self.assertEqual(received, expected * 20)

    def test_response_finished(self) -> None:
        """A response that is being sent is finished first."""
        self.put("x" * 500_000)
        client = self.connect()
        expected = without_date(self.get(client))
        client.socket.sendall(GET + GET)
        self.reactor.run_until_idle()
        handed_over = self.service.hand_over()
        self.assertNoResult(handed_over)
        received = without_date(self.ask(client))
        self.assertEqual(received, expected)
        self.continue_with(self.successResultOf(handed_over))
        self.assertEqual(without_date(self.ask(client)), expected)

    def test_response_too_long(self) -> None:
        """A response that is not finished in time ends with the connection."""
        self.put("x" * 500_000)
        client, other = self.connect(), self.connect()
        self.get(other)
        client.socket.sendall(GET)
        self.reactor.run_until_idle()
        self.assertEqual(len(self.restart()), 1)
        self.ask(client)
        self.assertTrue(client.is_closed)
        self.assertTrue(self.get(other).endswith(b"x"))

    def test_closing(self) -> None:
        """A connection that is being closed is closed, after its response."""
        client = self.connect()
        client.socket.sendall(GET.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        for _ in range(3):
            # Accept, read, respond; but do not write.
            for reader in self.reactor.getReaders():
                reader.doRead()
        handed_over = self.service.hand_over()
        self.assertNoResult(handed_over)
        self.assertTrue(self.ask(client).endswith(b"\r\n\r\n0"))
        self.assertEqual(self.successResultOf(handed_over), [])
        self.assertTrue(client.is_closed)

    def test_no_new_request(self) -> None:
        """No request begins while those of other connections are finished."""
        self.put("x" * 500_000)
        client, other = self.connect(), self.connect()
        self.get(other)
        client.socket.sendall(GET)
        self.reactor.run_until_idle()
        handed_over = self.service.hand_over()
        self.assertEqual(self.ask(other, GET), b"")
        self.ask(client)
        self.continue_with(self.successResultOf(handed_over))
        self.assertTrue(self.ask(other).endswith(b"x"))

    def test_limit(self) -> None:
        """Connections of the last process count, but are not refused."""
        self.limits = limits(connections=2)
        self.restart()
        clients = [self.connect() for _ in range(3)]
        self.reactor.run_until_idle()
        self.ask(clients[2])
        self.assertTrue(clients[2].is_closed)
        self.limits = limits(connections=1)
        self.restart()
        for client in clients[:2]:
            self.assertIn(b" 200 ", self.get(client))
        other = self.connect()
        self.ask(other)
        self.assertTrue(other.is_closed)

    def test_long_request(self) -> None:
        """A part of a request that is longer than a request may be is not kept."""
        client = self.connect()
        self.ask(client, POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(50):
            self.ask(client, b"1;" + b"a" * 1000 + b"\r\nb\r\n")
        self.assertFalse(client.is_closed)
        self.assertEqual(self.restart(), [])
        self.ask(client)
        self.assertTrue(client.is_closed)

    def test_much_data(self) -> None:
        """If there is too much data for all, connections with little data continue."""
        self.put("x" * 30_000)
        few, many = self.connect(), self.connect()
        self.get(few)
        self.reactor.run_until_idle()
        many.socket.sendall(GET * 20)
        self.reactor.run_until_idle()
        self.patch(handover, "MAX_OF_ALL", 10_000)
        self.assertEqual(len(self.restart()), 1)
        self.assertIn(b" 200 ", self.get(few))
        self.ask(many)
        self.assertTrue(many.is_closed)

    def test_much_data_of_one_owner(self) -> None:
        """Much data of one container takes the place of no other container's."""
        callers = {GUEST.pid: CALLER}
        self.identifier = MemoryIdentifier(callers)
        self.restart()
        for _ in range(10):
            self.ask(self.connect(), GET[:-2] + b"X: " + b"x" * 500)
        callers[GUEST.pid] = evolve(CALLER, container="c2")
        self.ask(self.connect(), GET[:-2] + b"X: " + b"x" * 1000)
        self.patch(handover, "MAX_OF_ALL", 3000)
        connections = self.hand_over()
        records = [cast(Mapping[str, str], one.record["caller"]) for one in connections]
        containers = sorted(record["container"] for record in records)
        self.assertEqual(containers, ["c1", "c1", "c1", "c2"])
        self.continue_with(connections)

    def test_waiting_request(self) -> None:
        """While a pipelined request waits for its turn, nothing more is read."""
        self.put("x" * 30_000)
        client = self.connect()
        self.reactor.run_until_idle()
        (listener,) = self.service._listeners
        (channel,) = listener.site.server.all()
        assert isinstance(channel, HandoverChannel)
        with mock.patch.object(channel.server.registry, "take_turn"):
            client.socket.sendall(GET * 2)
            for _ in range(100):
                with contextlib.suppress(BlockingIOError):
                    client.socket.send(GET * 100)
                self.reactor.run_until_idle()
                client.read()
        self.assertLess(channel.size, 10_000)

    def test_no_descriptors(self) -> None:
        """A connection whose descriptor cannot be duplicated is closed."""
        client, stream = self.connect(), self.connect()
        self.get(client)
        self.get(stream, "/1.0/events")

        def fail(_: int) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with mock.patch("os.dup", fail):
            connections = self.hand_over()
        self.assertEqual(connections, [])
        self.continue_with([])
        for one in (client, stream):
            self.ask(one)
            self.assertTrue(one.is_closed)

    def test_failures(self) -> None:
        """A connection that fails because of a bug is closed; others go on."""
        for name in ("_capture_state", "_continue_from"):
            clients = [self.connect() for _ in range(3)]
            for client in clients:
                self.get(client)
            patched = fail_once(getattr(HandoverChannel, name))
            with mock.patch.object(HandoverChannel, name, patched):
                self.restart()
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            for client in clients:
                self.ask(client)
            self.assertEqual([one.is_closed for one in clients].count(True), 1)
            self.close_clients()
            self.reactor.run_until_idle()


class AdoptTests(HandoverTestCase):
    """Connections that a service cannot continue."""

    def assert_not_adopted(self, changes: Mapping[str, JSONValue]) -> None:
        """Check that a connection with a changed record is given back."""
        client = self.connect()
        self.get(client)
        (connection,) = self.hand_over()
        self.start()
        record = {**connection.record, **changes}
        other = HandedOver(connection.descriptor, record)
        self.assertEqual(self.service.adopt([other]), [other])
        os.close(connection.descriptor)
        self.assertEqual(self.ask(client), b"")
        self.assertTrue(client.is_closed)

    def test_another_listener(self) -> None:
        """A connection of an address that is no longer served is given back."""
        self.assert_not_adopted({"listener": "/elsewhere"})

    def test_another_dialect(self) -> None:
        """A connection is given back if its address now has another dialect."""
        self.assert_not_adopted({"dialect": "apollo"})

    def test_another_version(self) -> None:
        """A record of another version is given back."""
        self.assert_not_adopted({"version": 2})

    def test_malformed(self) -> None:
        """A malformed record is given back."""
        self.assert_not_adopted({"received": 1})

    def test_malformed_caller(self) -> None:
        """A connection with a malformed caller is closed."""
        callers: list[JSONValue] = [
            {},
            {"container": "c1", "uid": "0"},
            {"container": ["c1"], "uid": 0},
            {"container": "c1", "uid": 0, "init": [1]},
            {"container": "c1", "uid": 0, "init": {"pid": 1}},
            {"container": "c1", "uid": 0, "init": [1, "2", "boot"]},
        ]
        for caller in callers:
            client = self.connect()
            self.get(client)
            (connection,) = self.hand_over()
            self.start()
            record = {**connection.record, "caller": caller}
            other = HandedOver(connection.descriptor, record)
            self.assertEqual(self.service.adopt([other]), [])
            self.ask(client)
            self.assertTrue(client.is_closed)

    def test_not_a_socket(self) -> None:
        """A descriptor that is not a connection is closed, and logged."""
        client = self.connect()
        self.get(client)
        (connection,) = self.hand_over()
        self.start()
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        os.close(connection.descriptor)
        self.service.adopt([HandedOver(reading, connection.record)])
        self.assertRaises(OSError, os.fstat, reading)


class CallerTests(HandoverTestCase):
    """The callers of connections that are handed over."""

    def setUp(self) -> None:
        self.callers = {GUEST.pid: CALLER}
        super().setUp()
        self.identifier = MemoryIdentifier(self.callers)
        self.restart()

    def test_unidentified(self) -> None:
        """A caller that was not identified is identified anew."""
        self.callers.clear()
        client = self.connect()
        self.ask(client, GET[:10])
        self.callers[GUEST.pid] = CALLER
        self.restart()
        self.assertIn(b" 200 ", self.ask(client, GET[10:]))

    def test_another_run(self) -> None:
        """The connections of an earlier run are closed, those of streams properly."""
        client, stream, websocket = self.connect(), self.connect(), self.connect()
        self.get(client)
        self.get(stream, "/1.0/events")
        self.ask(websocket, HANDSHAKE % b"")
        assert CALLER.init is not None
        init = evolve(CALLER.init, started=1)
        self.callers[GUEST.pid] = evolve(CALLER, run=2, init=init)
        self.restart()
        self.assertEqual(self.ask(client), b"")
        self.assertEqual(self.ask(stream), b"0\r\n\r\n")
        self.assertEqual(frames(self.ask(websocket)), [(CLOSE, b"\x03\xe8")])
        self.assertTrue(client.is_closed)
        self.assertTrue(stream.is_closed)

    def test_another_container(self) -> None:
        """A connection does not continue for another container."""
        client = self.connect()
        self.get(client)
        assert isinstance(self.store, MemoryStore)
        self.store.put(Container("c2", {"user.a": "secret"}))
        self.callers[GUEST.pid] = evolve(CALLER, container="c2")
        self.restart()
        self.ask(client)
        self.assertTrue(client.is_closed)

    def test_peer_ended(self) -> None:
        """A connection whose peer has ended continues as long as its run."""
        client = self.connect()
        self.callers[GUEST.pid] = evolve(CALLER, uid=1000)
        self.put("0", **{"security.devlxd.uids": "1000"})
        self.get(client)
        self.peers = MemoryPeerSource(None)
        self.restart()
        self.assertIn(b" 200 ", self.get(client))
        self.callers.clear()
        self.restart()
        self.ask(client)
        self.assertTrue(client.is_closed)

    def test_uid_of_ended_peer(self) -> None:
        """A caller whose peer has ended has the permissions of its own uid."""
        client = self.connect()
        self.callers[GUEST.pid] = evolve(CALLER, uid=1000)
        self.ask(client, GET[:10])
        self.peers = MemoryPeerSource(None)
        self.restart()
        self.assertIn(b" 401 ", self.ask(client, GET[10:]))

    def test_loading(self) -> None:
        """Connections wait until the store is loaded, however long that takes."""
        clients = [self.connect() for _ in range(30)]
        for client in clients:
            self.ask(client, GET[:10])
        self.store = store = MemoryStore(loaded=False)
        self.restart()
        for client in clients:
            self.assertEqual(self.ask(client, GET[10:]), b"")
        self.reactor.advance(100)
        store.put(C1)
        self.assertEqual(self.ask(clients[0]), b"")
        store.mark_loaded()
        for client in clients:
            self.assertIn(b" 200 ", self.ask(client))

    def test_much_data_while_loading(self) -> None:
        """Data that waits for the store counts as before."""
        few, many = self.connect(), self.connect()
        self.ask(few, GET[:10])
        self.ask(many, GET[:-2] + b"X: " + b"x" * 1000)
        full, self.store = self.store, MemoryStore(loaded=False)
        self.restart()
        self.store = full
        self.patch(handover, "MAX_OF_ALL", 1000)
        self.assertEqual(len(self.restart()), 1)
        self.assertIn(b" 200 ", self.ask(few, GET[10:]))
        self.ask(many)
        self.assertTrue(many.is_closed)

    def test_stopped_while_loading(self) -> None:
        """Connections that wait for the store can be handed over again."""
        client, stream = self.connect(), self.connect()
        self.ask(client, GET[:10])
        self.get(stream, "/1.0/events")
        full, self.store = self.store, MemoryStore(loaded=False)
        self.restart()
        self.store = full
        self.put("1")
        self.restart()
        self.assertIn(b" 200 ", self.ask(client, GET[10:]))
        self.assertIn(b'"value":"1"', self.ask(stream))


class StreamTests(HandoverTestCase):
    """Streams of events that are handed over."""

    changes = 0

    def listen(self, path: str = "/1.0/events", version: str = "1.1") -> Client:
        """Return a client that listens to events; it has read the head."""
        client = self.connect()
        head = self.ask(
            client, f"GET {path} HTTP/{version}\r\nHost: x\r\n\r\n".encode()
        )
        self.assertIn(b" 200 OK\r\n", head)
        self.assertTrue(head.endswith(b"\r\n\r\n"))
        return client

    def values(self, messages: bytes) -> list[str]:
        """Return the new values of the events in messages."""
        lines = messages.decode().splitlines()
        return [json.loads(line)["metadata"]["value"] for line in lines if line]

    def test_continues(self) -> None:
        """A stream continues; each event is received once and in order."""
        client = self.listen()
        received = b""
        values = [str(number) for number in range(1, 10)]
        for before, between, after in zip(*[iter(values)] * 3, strict=True):
            self.put(before)
            self.restart(partial(self.put, between))
            self.put(after)
            received += self.ask(client)
        self.assertEqual(self.values(b"".join(chunks(received))), values)

    def test_old_protocol(self) -> None:
        """A stream of HTTP/1.0 has no chunks, before and after the restart."""
        client = self.listen(version="1.0")
        self.put("1")
        received = self.ask(client)
        self.restart(lambda: self.put("2"))
        received += self.ask(client)
        self.assertEqual(self.values(received), ["1", "2"])

    def test_websocket(self) -> None:
        """A websocket continues in the same way."""
        client = self.connect()
        self.ask(client, HANDSHAKE % b"")
        self.put("1")
        received = self.ask(client)
        self.restart(lambda: self.put("2"))
        self.put("3")
        received += self.ask(client)
        payloads = [payload for opcode, payload in frames(received)]
        self.assertEqual({opcode for opcode, _ in frames(received)}, {TEXT})
        self.assertEqual(self.values(b"\n".join(payloads)), ["1", "2", "3"])

    def test_frames_in_turns(self) -> None:
        """Frames of the client that wait for their turn are handed over."""
        client = self.connect()
        self.ask(client, HANDSHAKE % b"")
        client.socket.sendall(frame(PING) * 500)
        # One read: the reactor has not come to the turn yet.
        self.reactor._serve_ready()
        (connection,) = self.restart()
        self.assertIn("received", connection.record)
        pongs = frames(self.ask(client))
        self.assertEqual(pongs, [(PONG, b"")] * 500)

    def test_types(self) -> None:
        """A stream continues with the types of events that were requested."""
        client = self.listen("/1.0/events?type=device")
        self.restart(lambda: self.put("1"))
        self.put("2")
        self.assertEqual(self.ask(client), b"")
        assert isinstance(self.store, MemoryStore)
        device = {"eth0": {"type": "nic", "nictype": "ipvlan"}}
        self.store.put(evolve(C1, devices=device))
        self.assertIn(b'"type":"device"', self.ask(client))

    def test_quiet(self) -> None:
        """A stream without events loses none, and receives no ``lost``."""
        client = self.listen("/1.0/events?type=device")
        for value in "123":
            self.put(value)
            self.restart()
        self.assertEqual(self.ask(client), b"")

    def test_replay(self) -> None:
        """A replay of past events that is not finished continues."""
        values = [f"{number} {'x' * 30_000}" for number in range(50)]
        for value in values:
            self.put(value)
        since = timestamp_text(START * 10**9).replace("+", "%2B")
        client = self.connect()
        client.socket.sendall(
            b"GET /1.0/events?since=%b HTTP/1.1\r\nHost: x\r\n\r\n" % since.encode()
        )
        self.reactor.run_until_idle()
        for _ in range(3):
            (connection,) = self.restart()
            self.assertIn("unsent", connection.record)
        _head, _, received = self.ask(client).partition(b"\r\n\r\n")
        self.assertEqual(self.values(b"".join(chunks(received))), values)

    def test_slow_reader(self) -> None:
        """Messages that the client has not read are received, each once and whole."""
        client = self.listen()
        sizes = (100, SLICE, SLICE + 1, 5 * SLICE, 300_000, 3, 100_000)
        for size in sizes:
            self.put("x" * size)
            self.reactor.run_until_idle()
        for _ in range(3):
            (connection,) = self.restart()
            self.assertLess(len(str(connection.record)), 700_000)
        received = b"".join(chunks(self.ask(client)))
        self.assertEqual([len(one) for one in self.values(received)], list(sizes))

    def test_slow_websocket(self) -> None:
        """The same over a websocket: no frame is cut."""
        client = self.connect()
        self.ask(client, HANDSHAKE % b"")
        sizes = (100, SLICE, SLICE + 1, 5 * SLICE, 300_000, 3, 100_000)
        for size in sizes:
            self.put("x" * size)
            self.reactor.run_until_idle()
        for _ in range(3):
            self.restart()
        messages: list[bytes] = []
        for opcode, payload in frames(self.ask(client)):
            if opcode == TEXT:
                messages.append(payload)
            elif opcode == CONTINUATION:
                messages[-1] += payload
        values = self.values(b"\n".join(messages))
        self.assertEqual([len(one) for one in values], list(sizes))

    def test_too_much_unsent(self) -> None:
        """A client with too much to read is disconnected."""
        client = self.listen()
        self.put("x" * (MAX_UNSENT + 500_000))
        self.reactor.run_until_idle()
        self.assertEqual(self.restart(), [])
        self.ask(client)
        self.assertTrue(client.is_closed)

    def test_switched_off(self) -> None:
        """A stream ends properly if the container loses the permission meanwhile."""
        client, old, websocket = (
            self.listen(),
            self.listen(version="1.0"),
            self.connect(),
        )
        self.ask(websocket, HANDSHAKE % b"")
        self.restart(lambda: self.put("1", **{"security.devlxd": "false"}))
        self.assertEqual(self.ask(client), b"0\r\n\r\n")
        self.assertEqual(self.ask(old), b"")
        self.assertEqual(frames(self.ask(websocket)), [(CLOSE, b"\x03\xe8")])
        self.ask(websocket, frame(CLOSE, b"\x03\xe8"))
        for one in (client, old, websocket):
            self.assertTrue(one.is_closed)
        self.assertEqual(self.service_connections(), 0)

    def test_removed(self) -> None:
        """A stream ends properly if the container is removed meanwhile."""
        client = self.listen()
        assert isinstance(self.store, MemoryStore)
        remove = self.store.remove
        self.restart(lambda: remove("c1"))
        self.assertEqual(self.ask(client), b"0\r\n\r\n")
        self.assertTrue(client.is_closed)

    def test_lost(self) -> None:
        """If the journal has lost events, the stream says so."""
        client = self.listen()
        self.restart(self.journal.unlink)
        self.assertIn(b'"lost"', self.ask(client))

    def test_closed_by_client(self) -> None:
        """The end of a client is noticed after the restart."""
        for client in (self.listen(), self.listen()):
            self.restart()
            client.socket.close()
            self.reactor.run_until_idle()
        self.assertEqual(self.service_connections(), 0)

    def test_closing_websocket(self) -> None:
        """A websocket that is being closed is not handed over."""
        client = self.connect()
        self.ask(client, HANDSHAKE % b"")
        self.put("1", **{"security.devlxd": "false"})
        self.assertEqual(self.restart(), [])
        self.ask(client)
        self.assertTrue(client.is_closed)

    def test_pings(self) -> None:
        """A websocket is pinged after the restart, and responds to pings."""
        client = self.connect()
        self.ask(client, HANDSHAKE % b"")
        self.restart()
        self.reactor.advance(PING_INTERVAL)
        self.assertEqual(frames(self.ask(client)), [(PING, b"")])
        self.assertEqual(frames(self.ask(client, frame(PING, b"a"))), [(PONG, b"a")])

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_any_frame(self, draw: st.DataObject) -> None:
        """Frames of the client may be cut at any byte."""
        mask = draw.draw(st.binary(min_size=4, max_size=4))
        data = b"".join(
            (
                masked(TEXT, b"abc", mask, fin=False),
                masked(PING, b"in a message", mask),
                masked(CONTINUATION, b"", mask, fin=False),
                masked(CONTINUATION, b"x" * 300, mask),
                masked(2, b"y" * 300, mask),
                masked(PING, b"", mask),
                masked(TEXT, b"", mask),
                masked(PING, b"p" * 125, mask),
            )
        )
        client = self.connect()
        self.ask(client, HANDSHAKE % b"")
        cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=3).map(sorted))
        received = b""
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            received += self.ask(client, data[start:end])
            self.restart()
        self.assertEqual(
            frames(received),
            [(PONG, b"in a message"), (PONG, b""), (PONG, b"p" * 125)],
        )
        self.changes += 1
        self.put(str(self.changes))
        self.assertIn(TEXT, [opcode for opcode, _ in frames(self.ask(client))])
        self.ask(client, masked(CLOSE, b"\x03\xe8", mask))
        self.assertTrue(client.is_closed)
        client.socket.close()


def fail_once(function: Callable[..., object]) -> Callable[..., object]:
    """Return a function that raises an exception at its first call."""
    failures = iter([0])

    def wrapped(*arguments: object) -> object:
        for zero in failures:
            1 // zero
        return function(*arguments)

    return wrapped


def masked(opcode: int, payload: bytes, mask: bytes, *, fin: bool = True) -> bytes:
    """Return a frame with a mask."""
    plain = frame(opcode, payload)
    head = plain[: len(plain) - len(payload) - 4]
    body = bytes(one ^ mask[i % 4] for i, one in enumerate(payload))
    return bytes((head[0] & (0xFF if fin else 0x7F),)) + head[1:] + mask + body
