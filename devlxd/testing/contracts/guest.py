# -*- test-case-name: tests.client.test_guest -*-
"""The contract of `IGuest`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from devlxd.client import (
    Event,
    Forbidden,
    GuestError,
    Lost,
    NotFound,
    NotSupported,
)
from devlxd.client.interfaces import IGuest
from devlxd.model import Container
from devlxd.testing.contracts.base import ContractBase

T = TypeVar("T")

_DEVICES = {"eth0": {"type": "nic", "nictype": "ipvlan", "name": "eth0"}}

_CONTAINER = Container("c1", {"user.a": "1", "user.b": "text\n"}, _DEVICES)

_HAS_STATES = {"lxd6", "incus"}


class GuestContract(ContractBase):
    """Tests of a guest in memory. Override the hooks, and `dialect`.

    :ivar guest: the guest of the container ``c1``.
    """

    guest: IGuest

    #: The dialect that the server speaks.
    dialect = "lxd"

    def make_guest(self) -> IGuest:
        """Hook: return a guest of the container ``c1``, of which `put` was called."""
        raise NotImplementedError

    def put(self, container: Container) -> None:
        """Hook: add a container, or replace it."""
        raise NotImplementedError

    def settle(self) -> None:
        """Hook: wait until everything has been received that was sent."""
        raise NotImplementedError

    def end_connections(self) -> None:
        """Hook: end all connections, as a server does that restarts."""
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        """Hook: let time pass for the guest."""
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the container and the guest."""
        super().setUp()
        self.put(_CONTAINER)
        self.guest = self.make_guest()

    def begin(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Begin a coroutine, and wait until nothing happens any more."""
        running = Deferred.fromCoroutine(coroutine)
        self.settle()
        return running

    def ask(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Return the result of a coroutine."""
        return self.successResultOf(self.begin(coroutine))

    def refused(
        self, kind: type[GuestError], coroutine: Coroutine[Deferred[Any], Any, Any]
    ) -> str:
        """Check that a coroutine raises an exception, and return its text."""
        return str(self.failureResultOf(self.begin(coroutine), kind).value)

    def next(self, events: AsyncGenerator[Event, None]) -> Deferred[Event]:
        """Ask for the next event."""
        return self.begin(_next(events))

    def test_interface(self) -> None:
        """The guest provides `IGuest`."""
        self.assertTrue(verifyObject(IGuest, self.guest))

    def test_info(self) -> None:
        """A guest learns the version of the API, the dialect, and the socket."""
        info = self.ask(self.guest.info())
        self.assertEqual((info["api_version"], info["dialect"]), ("1.0", self.dialect))
        self.assertIn("socket", info)

    def test_config(self) -> None:
        """A guest reads all keys, and each value as it is, in every dialect."""
        self.assertEqual(self.ask(self.guest.config()), _CONTAINER.config)
        self.assertEqual(self.ask(self.guest.get("user.b")), "text\n")

    def test_odd_keys(self) -> None:
        """A key may be any text that a document can contain."""
        for key in ("user.a b", "user.a/b", "user.ä", "user.%41", "user.?#"):
            self.put(Container("c1", {key: "value"}))
            self.assertEqual(self.ask(self.guest.config()), {key: "value"})
            self.assertEqual(self.ask(self.guest.get(key)), "value")

    def test_missing_key(self) -> None:
        """`NotFound` is raised for a key that does not exist."""
        self.refused(NotFound, self.guest.get("user.missing"))

    def test_devices(self) -> None:
        """A guest reads all devices as mappings, in every dialect that has devices."""
        if self.dialect == "apollo":
            self.refused(NotSupported, self.guest.devices())
            self.refused(NotSupported, self.guest.device("eth0"))
            return
        self.assertEqual(self.ask(self.guest.devices()), _DEVICES)
        self.assertEqual(self.ask(self.guest.device("eth0")), _DEVICES["eth0"])
        self.refused(NotFound, self.guest.device("eth1"))

    def test_meta_data(self) -> None:
        """A guest reads the meta-data, with the name of the container."""
        self.assertIn("local-hostname: c1\n", self.ask(self.guest.meta_data()))

    def test_states(self) -> None:
        """A guest says that it is ready, in a dialect with guest states."""
        if self.dialect not in _HAS_STATES:
            self.refused(NotSupported, self.guest.ready())
            return
        self.ask(self.guest.ready())
        self.assertEqual(self.ask(self.guest.info())["state"], "Ready")
        self.ask(self.guest.set_state("Started"))
        self.assertEqual(self.ask(self.guest.info())["state"], "Started")

    def test_switched_off(self) -> None:
        """`Forbidden` is raised when the API is switched off for the container."""
        self.switch_off()
        self.refused(Forbidden, self.guest.config())

    def test_changed(self) -> None:
        """Each question is answered with the current values."""
        self.put(Container("c1", {"user.a": "2"}))
        self.assertEqual(self.ask(self.guest.config()), {"user.a": "2"})

    def switch_off(self) -> None:
        """Switch the API off for the container."""
        names = {"apollo": "security.devapollo", "incus": "security.guestapi"}
        key = names.get(self.dialect, "security.devlxd")
        self.put(Container("c1", {**_CONTAINER.config, key: "false"}))


class GuestEventsContract(GuestContract):
    """Tests of a guest whose dialect has events. Override as for `GuestContract`."""

    def test_events(self) -> None:
        """A guest hears of changes of keys and devices, in order."""
        events = self.guest.events()
        first = self.next(events)
        self.put(Container("c1", {"user.a": "2", "user.b": "text\n"}))
        self.settle()
        event = self.successResultOf(first)
        expected = {"key": "user.a", "old_value": "1", "value": "2"}
        self.assertEqual((event.type, event.metadata), ("config", expected))
        removed = self.successResultOf(self.next(events))
        self.assertEqual(removed.type, "device")
        self.assertEqual(removed.metadata["action"], "removed")
        self.ask(events.aclose())

    def test_types(self) -> None:
        """A guest hears of what it has asked for only."""
        events = self.guest.events(["device"])
        first = self.next(events)
        self.put(Container("c1", {"user.a": "2"}))
        self.settle()
        self.assertEqual(self.successResultOf(first).type, "device")
        self.ask(events.aclose())

    def test_unknown_type(self) -> None:
        """A type that does not exist is refused immediately."""
        with self.assertRaises(ValueError) as caught:
            self.guest.events(["lifecycle"])
        self.assertIn("'lifecycle'", str(caught.exception))

    def test_connects_again(self) -> None:
        """After a restart of the server, a guest hears of what it has missed."""
        events = self.guest.events(["config"])
        waiting = self.next(events)
        for number in range(3):
            self.end_connections()
            self.settle()
            self.change(f"while away {number}")
            self.advance(1)
            self.settle()
            event = self.successResultOf(waiting)
            self.assertNotIsInstance(event, Lost)
            self.assertEqual(event.metadata["value"], f"while away {number}")
            waiting = self.next(events)
        self.cancel(waiting)

    def test_since(self) -> None:
        """A guest that was away asks for the events since the last one."""
        events = self.guest.events(["config"])
        waiting = self.next(events)
        self.change("first")
        event = self.successResultOf(waiting)
        self.ask(events.aclose())
        self.change("second")
        again = self.guest.events(["config"], since=event.timestamp)
        event = self.successResultOf(self.next(again))
        self.assertEqual(event.metadata["value"], "second")
        self.ask(again.aclose())

    def test_position(self) -> None:
        """A guest learns where to continue before it has heard of anything."""
        positions: list[str] = []
        events = self.guest.events(["config"], on_position=positions.append)
        waiting = self.next(events)
        self.settle()
        self.cancel(waiting)
        self.change("while away")
        again = self.guest.events(["config"], positions[-1], positions.append)
        event = self.successResultOf(self.next(again))
        self.assertEqual(event.metadata["value"], "while away")
        self.assertEqual(positions, [positions[0]] * 2)
        self.ask(again.aclose())

    def test_lost(self) -> None:
        """A guest is told when the server no longer knows all events."""
        events = self.guest.events(since="2001-01-01T00:00:00Z")
        self.assertIsInstance(self.successResultOf(self.next(events)), Lost)
        self.ask(events.aclose())

    def test_events_switched_off(self) -> None:
        """`Forbidden` is raised when the API is switched off: first, and later."""
        events = self.guest.events(["config"])
        waiting = self.next(events)
        self.switch_off()
        self.end_connections()
        self.settle()
        self.advance(1)
        self.settle()
        self.failureResultOf(waiting, Forbidden)
        self.failureResultOf(self.next(self.guest.events()), Forbidden)

    def test_cancel(self) -> None:
        """Cancelling a coroutine ends the events."""
        events = self.guest.events()
        self.cancel(self.next(events))
        self.failureResultOf(self.next(events), StopAsyncIteration)

    def change(self, value: str) -> None:
        """Change the value of a key."""
        config = {**_CONTAINER.config, "user.a": value}
        self.put(Container("c1", config, _DEVICES))
        self.settle()

    def cancel(self, waiting: Deferred[Event]) -> None:
        """Cancel what waits for an event."""
        waiting.cancel()
        self.settle()
        self.failureResultOf(waiting, CancelledError)


async def _next(events: AsyncGenerator[Event, None]) -> Event:
    return await events.__anext__()
