# -*- test-case-name: tests.guest_states -*-
"""The contracts of `IGuestStates` and `IReadyObserver`."""

from __future__ import annotations

from attrs import evolve
from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.interfaces import IGuestStates, IReadyObserver
from devlxd.model import Caller, GuestState, Init
from devlxd.testing.contracts.base import ContractBase
from devlxd.testing.ready_observers import RecordingReadyObserver

_READY, _STARTED = GuestState.READY, GuestState.STARTED

_BOOT = "00000000-0000-4000-8000-000000000000"

_FIRST = Caller("c1", uid=0, run=1, init=Init(11, 100, _BOOT))
_SECOND = Caller("c1", uid=0, run=2, init=Init(12, 200, _BOOT))

_OTHER = Caller("c2", uid=0, run=3, init=Init(13, 100, _BOOT))


@implementer(IReadyObserver)
class _FailingObserver:
    """An observer that fails."""

    def state_changed(self, container: str, state: GuestState) -> None:
        """See `IReadyObserver.state_changed`."""
        raise RuntimeError("an observer fails in this test")


class GuestStatesContract(ContractBase):
    """Tests of guest states. Override `make_states`, `end_run` and `remove`.

    :ivar states: new guest states for each test.
    :ivar observer: an observer of them.
    """

    states: IGuestStates
    observer: RecordingReadyObserver

    def make_states(self) -> IGuestStates:
        """Hook: return guest states of the containers ``c1`` and ``c2``."""
        raise NotImplementedError

    def end_run(self, run: int) -> None:
        """Hook: end the run with this number."""
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Hook: remove a container from the store."""
        raise NotImplementedError

    def setUp(self) -> None:
        """See `SynchronousTestCase.setUp`. Makes the guest states."""
        super().setUp()
        self.states = self.make_states()
        self.observer = RecordingReadyObserver()
        self.states.watch(self.observer)

    def test_interface(self) -> None:
        """The provider provides `IGuestStates`."""
        self.assertTrue(verifyObject(IGuestStates, self.states))

    def test_started(self) -> None:
        """A guest is not ready until it says so."""
        self.assertIs(self.states.get(_FIRST), _STARTED)
        self.assertIs(self.states.state_of("c1"), _STARTED)
        self.assertIs(self.states.state_of("unknown"), _STARTED)
        self.assertEqual(self.observer.changes, [])

    def test_ready(self) -> None:
        """Each change is notified once; other containers are not affected."""
        self.states.set(_FIRST, _READY)
        self.states.set(_FIRST, _READY)
        self.assertIs(self.states.get(_FIRST), _READY)
        self.assertIs(self.states.state_of("c1"), _READY)
        self.assertIs(self.states.get(_OTHER), _STARTED)
        self.states.set(_FIRST, _STARTED)
        self.states.set(_FIRST, _STARTED)
        self.assertIs(self.states.get(_FIRST), _STARTED)
        self.assertEqual(self.observer.changes, [("c1", _READY), ("c1", _STARTED)])

    def test_run(self) -> None:
        """A guest state belongs to one run: the next one begins as started."""
        self.states.set(_FIRST, _READY)
        self.assertIs(self.states.get(_SECOND), _STARTED)

    def test_next_run(self) -> None:
        """A run that is ready before the end of the last one is noticed stays so."""
        self.states.set(_FIRST, _READY)
        self.states.set(_SECOND, _READY)
        self.assertIs(self.states.get(_FIRST), _STARTED)
        self.end_run(1)
        self.assertIs(self.states.get(_SECOND), _READY)
        self.assertIs(self.states.state_of("c1"), _READY)
        changes = [("c1", _READY), ("c1", _STARTED), ("c1", _READY)]
        self.assertEqual(self.observer.changes, changes)

    def test_end_of_run(self) -> None:
        """When a run ends, its guest is no longer ready."""
        self.states.set(_FIRST, _READY)
        self.states.set(_OTHER, _READY)
        self.end_run(1)
        self.assertIs(self.states.get(_FIRST), _STARTED)
        self.assertIs(self.states.state_of("c1"), _STARTED)
        self.assertIs(self.states.get(_OTHER), _READY)
        self.assertEqual(self.observer.changes[2:], [("c1", _STARTED)])

    def test_removed(self) -> None:
        """When a container is removed, its guest is no longer ready."""
        self.states.set(_FIRST, _READY)
        self.remove("c1")
        self.assertIs(self.states.state_of("c1"), _STARTED)
        self.assertEqual(self.observer.changes[1:], [("c1", _STARTED)])

    def test_unwatch(self) -> None:
        """An observer that no longer watches is not notified."""
        self.states.unwatch(self.observer)
        self.states.set(_FIRST, _READY)
        self.assertEqual(self.observer.changes, [])
        with self.assertRaises(ValueError):
            self.states.unwatch(self.observer)

    def test_failing_observer(self) -> None:
        """The exception of an observer is logged; the others are notified."""
        self.states.unwatch(self.observer)
        self.states.watch(_FailingObserver())
        self.states.watch(self.observer)
        self.states.set(_FIRST, _READY)
        self.assertEqual(self.observer.changes, [("c1", _READY)])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class DurableGuestStatesContract(GuestStatesContract):
    """Tests of guest states that survive a restart of the process.

    Override `restart`, and the hooks of `GuestStatesContract`.
    """

    def restart(self, *callers: Caller) -> IGuestStates:
        """Hook: end the process of `states`, and return those of a later process.

        `end_run` and `remove` are then called for the later process.

        :param callers: a caller of each run that has not ended, as the later process
            identifies it. In that process the numbers of runs are others.
        :return: guest states that have read all that was stored.
        """
        raise NotImplementedError

    def test_restart(self) -> None:
        """A guest is ready after a restart, unless its run has ended meanwhile."""
        self.states.set(_FIRST, _READY)
        self.states.set(_OTHER, _READY)
        later, other = evolve(_FIRST, run=7), evolve(_SECOND, container="c2", run=8)
        states = self.restart(later, other)
        self.assertIs(states.get(later), _READY)
        self.assertIs(states.state_of("c1"), _READY)
        self.assertIs(states.get(other), _STARTED)
        self.assertIs(states.state_of("c2"), _STARTED)

    def test_end_after_restart(self) -> None:
        """The end of a run is noticed after a restart, too."""
        self.states.set(_FIRST, _READY)
        later = evolve(_FIRST, run=7)
        states = self.restart(later)
        observer = RecordingReadyObserver()
        states.watch(observer)
        self.end_run(7)
        self.assertIs(states.get(later), _STARTED)
        self.assertEqual(observer.changes, [("c1", _STARTED)])
        self.assertIs(self.restart().state_of("c1"), _STARTED)

    def test_ended_before_restart(self) -> None:
        """A guest state that was forgotten is not restored by a restart."""
        self.states.set(_FIRST, _READY)
        self.states.set(_OTHER, _READY)
        self.states.set(_FIRST, _STARTED)
        self.remove("c2")
        callers = evolve(_FIRST, run=7), evolve(_OTHER, run=8)
        states = self.restart(*callers)
        for caller in callers:
            self.assertIs(states.get(caller), _STARTED)

    def test_many_restarts(self) -> None:
        """A guest state survives any number of restarts."""
        self.states.set(_FIRST, _READY)
        for run in (7, 5, 6):
            states = self.restart(evolve(_FIRST, run=run))
        self.assertIs(states.get(evolve(_FIRST, run=6)), _READY)


class ReadyObserverContract(ContractBase):
    """Tests of an observer of guest states. Override `make_observer`."""

    def make_observer(self) -> IReadyObserver:
        """Hook: return a new observer."""
        raise NotImplementedError

    def test_changes(self) -> None:
        """An observer accepts all changes, even repeated and of unknown containers."""
        observer = self.make_observer()
        self.assertTrue(verifyObject(IReadyObserver, observer))
        for state in (_READY, _READY, _STARTED, _STARTED):
            observer.state_changed("c1", state)
