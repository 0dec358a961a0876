# -*- test-case-name: tests.guest_states -*-
"""The contracts of `IGuestStates` and `IReadyObserver`."""

from __future__ import annotations

from zope.interface import implementer
from zope.interface.verify import verifyObject

from devlxd.interfaces import IGuestStates, IReadyObserver
from devlxd.model import Caller, GuestState
from devlxd.testing.contracts.base import ContractBase
from devlxd.testing.ready_observers import RecordingReadyObserver

_READY, _STARTED = GuestState.READY, GuestState.STARTED

_FIRST, _SECOND = Caller("c1", uid=0, run=1), Caller("c1", uid=0, run=2)

_OTHER = Caller("c2", uid=0, run=3)


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
