"""Tests of `devlxd.guest_states.sqlite_states`, and the contracts it fulfils."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from devlxd.containers.memory_store import MemoryStore
from devlxd.guest_states.sqlite_states import SQLiteGuestStates
from devlxd.interfaces import IGuestStates, IRunObserver, IStoreObserver
from devlxd.model import Caller, Container, GuestState, Init
from devlxd.peers.assumed_identifier import AssumedIdentifier
from devlxd.testing import MemoryIdentifier, RecordingReadyObserver
from devlxd.testing.contracts import (
    DurableGuestStatesContract,
    RunObserverContract,
    StoreObserverContract,
)
from tests.guest_states.files import ONE, TWO, StatesFileTestCase

STARTED, READY = GuestState.STARTED, GuestState.READY

#: Callers of the same run, in an earlier and in a later devlxd.
EARLIER, LATER = Caller("c1", 0, run=1, init=ONE), Caller("c1", 0, run=5, init=ONE)


class LoadingStore(MemoryStore):
    """A store that is loaded when the test says so.

    :ivar unread: the names of the containers whose documents cannot be read.
    """

    def __init__(self) -> None:
        super().__init__([Container("c1"), Container("c2")])
        self.waiting: list[Deferred[None]] = []
        self.unread: set[str] = set()

    def loaded(self) -> Deferred[None]:
        """See `IContainerStore.loaded`."""
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def get(self, name: str) -> Container | None:
        """See `IContainerStore.get`."""
        return None if name in self.unread else super().get(name)


class SQLiteStatesTestCase(StatesFileTestCase):
    """A base class with guest states in a file, and a store that is not loaded."""

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`."""
        self.clock = Clock()
        self.store = LoadingStore()
        self.identifier = MemoryIdentifier()
        self.heard = RecordingReadyObserver()
        super().setUp()

    def start(self, *callers: Caller) -> SQLiteGuestStates:
        """Start the guest states of a process that identifies these callers."""
        self.store = LoadingStore()
        self.identifier = MemoryIdentifier(dict(enumerate(callers)))
        states = SQLiteGuestStates(
            self.store, self.identifier, self.clock, str(self.path)
        )
        self.heard = RecordingReadyObserver()
        states.watch(self.heard)
        states.startService()
        self.addCleanup(states.stopService)
        return states

    def load(self) -> None:
        """Load the store, and wait until all recorded runs are looked up."""
        self.store.waiting[-1].callback(None)
        self.clock.advance(0)
        self.clock.advance(0)


class ContractTests(DurableGuestStatesContract, SQLiteStatesTestCase):
    """Guest states in a file."""

    states: SQLiteGuestStates

    def make_states(self) -> SQLiteGuestStates:
        """See `GuestStatesContract.make_states`."""
        states = self.start()
        self.load()
        return states

    def restart(self, *callers: Caller) -> IGuestStates:
        """See `DurableGuestStatesContract.restart`."""
        self.states.stopService()
        self.states = self.start(*callers)
        self.load()
        return self.states

    def end_run(self, run: int) -> None:
        """See `GuestStatesContract.end_run`."""
        self.identifier.end(run)

    def remove(self, name: str) -> None:
        """See `GuestStatesContract.remove`."""
        self.store.remove(name)


class StoreObserverTests(StoreObserverContract, SQLiteStatesTestCase):
    """Guest states observe a store."""

    def make_observer(self) -> IStoreObserver:
        """See `StoreObserverContract.make_observer`."""
        states = self.start()
        self.load()
        return states


class RunObserverTests(RunObserverContract, SQLiteStatesTestCase):
    """Guest states observe runs."""

    def make_observer(self) -> IRunObserver:
        """See `RunObserverContract.make_observer`."""
        return self.start()


class RestartTests(SQLiteStatesTestCase):
    """Guest states after a restart of devlxd, before and after the store is loaded."""

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`."""
        super().setUp()
        states = self.start()
        states.set(EARLIER, READY)
        states.stopService()

    def names(self) -> list[object]:
        """Return the names of the recorded containers; the file must be closed."""
        return [row[0] for row in self.rows()]

    def test_stop(self) -> None:
        """When devlxd is stopped, the ends of runs no longer matter."""
        self.assertEqual(self.rows(), [("c1", ONE.pid, ONE.started, ONE.boot)])
        self.assertEqual(self.heard.changes, [("c1", READY)])
        self.identifier.end(1)
        self.assertEqual(self.names(), ["c1"])

    def test_before_loaded(self) -> None:
        """The recorded run is ready before the store is loaded; others are not."""
        states = self.start(LATER)
        self.assertIs(states.state_of("c1"), STARTED)
        self.assertIs(states.get(evolve(LATER, init=TWO)), STARTED)
        self.assertIs(states.get(evolve(LATER, init=None)), STARTED)
        self.assertIs(states.get(evolve(LATER, container="c2")), STARTED)
        self.assertIs(states.get(LATER), READY)
        self.assertIs(states.state_of("c1"), READY)
        self.load()
        self.assertIs(states.get(LATER), READY)
        self.assertEqual(self.heard.changes, [("c1", READY)])

    def test_set_before_loaded(self) -> None:
        """The recorded run can take back its state before the store is loaded."""
        states = self.start(LATER)
        states.set(LATER, STARTED)
        self.load()
        self.assertIs(states.get(LATER), STARTED)
        self.assertEqual(self.heard.changes, [("c1", READY), ("c1", STARTED)])
        states.stopService()
        self.assertEqual(self.names(), [])

    def test_other_run_before_loaded(self) -> None:
        """A later run that is ready before the store is loaded replaces the record."""
        other = evolve(LATER, run=6, init=TWO)
        states = self.start(other)
        states.set(other, READY)
        self.load()
        self.assertIs(states.get(other), READY)
        self.assertEqual(self.heard.changes, [("c1", READY)])
        states.stopService()
        self.assertEqual(self.rows(), [("c1", TWO.pid, TWO.started, TWO.boot)])

    def test_looked_up(self) -> None:
        """Observers are notified of guests that are ready when they are looked up."""
        states = self.start(LATER)
        self.assertEqual(self.heard.changes, [])
        self.load()
        self.assertEqual(self.heard.changes, [("c1", READY)])
        self.assertIs(states.get(LATER), READY)

    def test_ended_meanwhile(self) -> None:
        """A run that has ended is logged and removed; observers are not notified."""
        states = self.start()
        with capturedLogs() as events:
            self.load()
        (line,) = map(formatEvent, events)
        self.assertIn("c1 is no longer ready: pid 11 is the init of no run", line)
        self.assertEqual(self.heard.changes, [])
        states.stopService()
        self.assertEqual(self.names(), [])

    def test_other_container(self) -> None:
        """A run that belongs to another container now is removed."""
        states = self.start(evolve(LATER, container="c2"))
        self.load()
        self.assertEqual(self.heard.changes, [])
        states.stopService()
        self.assertEqual(self.names(), [])

    def test_removed_while_loading(self) -> None:
        """The record of a container that is removed is removed."""
        states = self.start(LATER)
        self.store.remove("c1")
        self.load()
        self.assertIs(states.state_of("c1"), STARTED)
        states.stopService()
        self.assertEqual(self.names(), [])

    def test_unread(self) -> None:
        """A container whose document cannot be read is looked up when it can."""
        states = self.start(LATER)
        self.store.unread.add("c1")
        self.load()
        self.assertIs(states.state_of("c1"), STARTED)
        self.store.unread.clear()
        self.store.put(Container("c2", {"user.a": "b"}))
        self.assertIs(states.state_of("c1"), STARTED)
        self.store.put(Container("c1", {"user.a": "b"}))
        self.assertIs(states.state_of("c1"), READY)

    def test_failing_look_up(self) -> None:
        """A failure to look up one run is logged; the others are looked up."""
        states = self.start()
        states.set(evolve(EARLIER, container="c2", init=TWO), READY)
        states.stopService()
        states = self.start(evolve(LATER, container="c2", init=TWO))
        found = self.identifier.caller_of

        def fail_for_one(_: MemoryIdentifier, init: Init) -> Caller:
            if init == ONE:
                raise ZeroDivisionError("on purpose")
            return found(init)

        self.patch(MemoryIdentifier, "caller_of", fail_for_one)
        self.load()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.heard.changes, [("c2", READY)])

    def test_stopped_while_loading(self) -> None:
        """A service that is stopped before the store is loaded changes nothing."""
        self.start(LATER).stopService()
        states = self.start(LATER)
        self.store.waiting[-1].callback(None)
        states.stopService()
        self.clock.advance(0)
        self.assertEqual(self.names(), ["c1"])
        self.assertEqual(self.heard.changes, [])

    def test_failed_store(self) -> None:
        """If the store fails to load, recorded runs are ready for their callers."""
        states = self.start(LATER)
        self.store.waiting[-1].errback(ZeroDivisionError())
        self.assertIs(states.get(LATER), READY)
        states.stopService()
        self.assertEqual(self.names(), ["c1"])

    def test_run_without_init(self) -> None:
        """The state of a run that a later devlxd cannot recognize is not recorded."""
        states = self.start(LATER)
        self.load()
        unknown = evolve(LATER, run=6, init=None)
        states.set(unknown, READY)
        self.assertIs(states.get(unknown), READY)
        states.stopService()
        self.assertEqual(self.names(), [])

    def test_restarted_service(self) -> None:
        """A service that is started again has read its file again."""
        states = self.start(LATER)
        self.load()
        states.stopService()
        self.assertIs(states.state_of("c1"), STARTED)
        states.startService()
        self.load()
        self.assertIs(states.get(LATER), READY)


class AssumedTests(SQLiteStatesTestCase):
    """Guest states of callers without runs (``--assume``)."""

    def start_assumed(self) -> SQLiteGuestStates:
        """Start the guest states of a devlxd with ``--assume c1``."""
        self.store = LoadingStore()
        identifier = AssumedIdentifier("c1")
        states = SQLiteGuestStates(self.store, identifier, self.clock, str(self.path))
        states.startService()
        self.addCleanup(states.stopService)
        return states

    def test_restart(self) -> None:
        """The state remains until it is set back, over any number of restarts."""
        caller = Caller("c1", 0)
        states = self.start_assumed()
        states.set(caller, READY)
        for _ in range(2):
            states.stopService()
            states = self.start_assumed()
            self.assertIs(states.get(caller), READY)
            self.load()
            self.assertIs(states.get(caller), READY)
        states.set(caller, STARTED)
        states.stopService()
        self.assertIs(self.start_assumed().get(caller), STARTED)

    def test_removed(self) -> None:
        """A container that was removed meanwhile is not ready."""
        states = self.start_assumed()
        states.set(Caller("c1", 0), READY)
        states.stopService()
        states = self.start_assumed()
        self.store.remove("c1")
        self.load()
        self.assertIs(states.state_of("c1"), STARTED)

    def test_missing(self) -> None:
        """A container that is missing when the store is loaded is not ready."""
        states = self.start_assumed()
        states.set(Caller("gone", 0), READY)
        states.stopService()
        states = self.start_assumed()
        self.load()
        self.assertIs(states.state_of("gone"), STARTED)
        states.stopService()
        self.assertEqual(self.rows(), [])

    def test_both(self) -> None:
        """A devlxd without ``--assume`` ignores its states, and the other way round."""
        states = self.start()
        states.set(EARLIER, READY)
        states.stopService()
        states = self.start_assumed()
        states.set(Caller("c2", 0), READY)
        self.load()
        self.assertIs(states.state_of("c1"), STARTED)
        self.assertIs(states.get(Caller("c1", 0)), STARTED)
        states.stopService()
        states = self.start(LATER)
        self.load()
        self.assertIs(states.get(LATER), READY)
        self.assertIs(states.state_of("c2"), STARTED)
        states.stopService()
        self.assertEqual([row[0] for row in self.rows()], ["c1"])
