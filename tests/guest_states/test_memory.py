"""The contract suites of guest states, run on `MemoryGuestStates`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from devlxd.containers.memory_store import MemoryStore
from devlxd.guest_states.memory import MemoryGuestStates
from devlxd.model import Caller, Container, GuestState
from devlxd.testing import MemoryIdentifier, RecordingReadyObserver
from devlxd.testing.contracts import (
    GuestStatesContract,
    ReadyObserverContract,
    RunObserverContract,
    StoreObserverContract,
)


class MemoryGuestStatesTests(GuestStatesContract, SynchronousTestCase):
    """Guest states in memory."""

    def make_states(self) -> MemoryGuestStates:
        """See `GuestStatesContract.make_states`."""
        self.store = MemoryStore([Container("c1"), Container("c2")])
        self.identifier = MemoryIdentifier()
        states = MemoryGuestStates(self.store, self.identifier, Clock())
        states.startService()
        self.addCleanup(states.stopService)
        return states

    def end_run(self, run: int) -> None:
        """See `GuestStatesContract.end_run`."""
        self.identifier.end(run)

    def remove(self, name: str) -> None:
        """See `GuestStatesContract.remove`."""
        self.store.remove(name)

    def test_replaced(self) -> None:
        """A container that replaces another one of its name is not ready."""
        self.store.put(Container("c1", id="1"))
        caller = Caller("c1", uid=0, run=1)
        self.states.set(caller, GuestState.READY)
        self.store.put(Container("c1", {"user.a": "b"}, id="1"))
        self.assertIs(self.states.get(caller), GuestState.READY)
        self.store.put(Container("c1", id="2"))
        self.assertIs(self.states.get(caller), GuestState.STARTED)


class StoreObserverTests(StoreObserverContract, SynchronousTestCase):
    """Guest states observe a store."""

    def make_observer(self) -> MemoryGuestStates:
        """See `StoreObserverContract.make_observer`."""
        return MemoryGuestStates(MemoryStore(), MemoryIdentifier(), Clock())


class RunObserverTests(RunObserverContract, SynchronousTestCase):
    """Guest states observe runs."""

    def make_observer(self) -> MemoryGuestStates:
        """See `RunObserverContract.make_observer`."""
        return MemoryGuestStates(MemoryStore(), MemoryIdentifier(), Clock())


class RecordingReadyObserverTests(ReadyObserverContract, SynchronousTestCase):
    """The observer for tests."""

    def make_observer(self) -> RecordingReadyObserver:
        """See `ReadyObserverContract.make_observer`."""
        return RecordingReadyObserver()
